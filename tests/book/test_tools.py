"""The parts that make the book: cells, numbers of the run, links, formulas, search."""

import subprocess
import sys

import nbformat
import pytest

pytest.importorskip("sphinx", reason="the book's tools are not installed: make book installs them")

import minidl
from tools.book import cells, execute
from tools.book.reference import public
from tools.book.search import SearchChinese, pairs
from tools.book.source import find
from tools.book.tex import formulas

CHAPTER = """# 99. A test

Text.

```python
a = 3
```

Three is {run}`a:.1f`, and {src}`minidl.ops.sin` is code.

```python
a + 1
```

```py
not run
```
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs a chapter of this text in an empty place."""
    for module in (cells, execute):
        monkeypatch.setattr(module, "EXECUTED", tmp_path / "executed")

    def run(text: str = CHAPTER):
        path = tmp_path / "99-a-test.md"
        path.write_text(text, encoding="utf-8")
        execute.execute(path)
        return path

    return run


def test_fences_are_cells_and_the_text_stays_whole():
    notebook = cells.cells_of(CHAPTER)
    assert [c.source for c in notebook.cells if c.cell_type == "code"] == ["a = 3", "a + 1"]
    assert "not run" in notebook.cells[-1].source
    assert [c.cell_type for c in cells.cells_of("# About\n\n```python\nx\n```\n").cells] == [
        "markdown"
    ]


def test_a_chapter_is_run_and_its_numbers_are_taken_where_they_stand(run):
    path = run()
    notebook = cells.read(CHAPTER)
    assert cells.values_of(notebook) == {"a:.1f": "3.0"}
    assert notebook.cells[3].outputs[0].data["text/plain"] == "4"
    written = execute.write_notebook(path, path.parent)
    text = nbformat.reads(written.read_text(encoding="utf-8"), as_version=4).cells[2].source
    assert "Three is 3.0, and `minidl.ops.sin` is code." in text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (CHAPTER.replace("a + 1", "import sys; print(1, file=sys.stderr)"), "wrote to stderr"),
        (CHAPTER.replace("a + 1", "a = 4") + "{run}`a:.1f`", "at one place"),
        (CHAPTER.replace("`a:.1f`", "`none`"), "NameError"),
    ],
)
def test_a_fault_in_a_chapter_stops_the_build(run, text, words):
    with pytest.raises(RuntimeError, match=words):
        run(text)


def test_another_text_has_no_executed_notebook(run):
    run()
    assert cells.executed(CHAPTER + "\n") is None


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("minidl.ops.matmul", "def matmul("),
        ("minidl.ops.sin", "sin: _Op"),
        ("minidl.tensor.Tensor.backward", "def backward("),
        ("minidl.backward._fit", "def _fit("),
        ("minidl.Trainer", "class Trainer"),
        ("minidl.optim.SGD.formula", "formula = staticmethod(sgd)"),
    ],
)
def test_a_name_leads_to_its_line(name, line):
    if name == "minidl.optim.SGD.formula":  # the function that it names
        line = "def sgd("
    path, number = find(name)
    assert path.read_text(encoding="utf-8").splitlines()[number - 1].strip().startswith(line)


@pytest.mark.parametrize("name", ["minidl.ops.matmull", "minidl.no.such", "numpy.sin", "nothing"])
def test_a_wrong_name_is_found_out(name):
    with pytest.raises(LookupError):
        find(name)


@pytest.mark.parametrize(
    ("line", "tex"),
    [
        ("y = eˣ; dy/dx = y.", ["y = e^{x}", r"\frac{dy}{dx} = y"]),
        ("y = √x; dy/dx = 1/(2y), infinite at 0.", [r"y = \sqrt {x}", r"\frac{dy}{dx} = 1/(2y)"]),
        ("y = 1/(1 + e⁻ˣ); dy/dx = y(1 - y).", ["y = 1/(1 + e^{-x})", r"\frac{dy}{dx} = y(1 - y)"]),
        ("y = the largest x; g goes there.", []),
        ("Shapes: x (N, C, H, W) -> (N, C).", []),
    ],
)
def test_formulas_of_docstrings(line, tex):
    pieces = list(formulas(line))
    assert [text for is_tex, text in pieces if is_tex] == tex
    if not tex:
        assert "".join(text for _, text in pieces) == line


def test_most_operations_show_a_formula():
    docs = [getattr(minidl.ops, name).__doc__ or "" for name in minidl.ops.__all__]
    with_slope = [doc for doc in docs if "dy/dx" in doc.partition("\n")[0]]
    shown = [doc for doc in with_slope if any(f for f, _ in formulas(doc.partition("\n")[0]))]
    assert len(with_slope) > 30 and len(shown) >= 0.9 * len(with_slope)


def test_the_reference_holds_every_name_of_the_contract():
    assert set(public("minidl.ops")) == set(minidl.ops.__all__)
    assert {"tensor", "Tensor", "grad", "Trainer", "save"} <= set(public("minidl"))
    assert {"Dense", "Conv2d", "weight_norm"} <= set(public("minidl.nn"))
    assert "he_normal" in public("minidl.nn.init")


def test_chinese_is_found_by_pairs_of_characters():
    assert pairs("链式法则") == ["链式", "式法", "法则"]
    assert pairs("ReLU") == ["ReLU"]
    split = SearchChinese({}).split("用 md.grad 求 梯度下降 的rate")
    assert {"梯度", "度下", "下降", "rate"} <= set(split)


def test_running_the_chapters_fails_where_one_does(tmp_path):
    bad = tmp_path / "01-bad.md"
    bad.write_text(CHAPTER.replace("a + 1", "1 / 0"), encoding="utf-8")
    command = [sys.executable, "-m", "tools.book.execute", str(bad)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "ZeroDivisionError" in done.stderr
