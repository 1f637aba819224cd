"""The plan of the house, held by tests: who imports whom, how much code there is, and names."""

import ast
import io
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "minidl"
# Top to bottom: a part imports only from parts that stand after it.
FLOORS = (
    *("__main__", "cli", "scope", "search", "exercises"),
    *("lab", "runs", "health", "train", "plot", "export", "models", "data"),
    *("optim", "nn", "testing", "functional", "create", "numpy_functions", "ops", "compare"),
    *("checks", "graph", "tensor", "operators", "backward", "norms", "kernels", "arrays"),
    *("habits", "files", "notebook", "memory", "modes", "rng", "device", "processes"),
    *("called", "errors"),
)
ENGINE = ("tensor", "backward", "functional", "ops", "nn", "optim")
BUDGET = 2200  # lines of code in them
SOURCES = sorted(PACKAGE.rglob("*.py"))
DEMOS = sorted((ROOT / "demos").glob("*.py"))


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def part(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def code_lines(path: Path) -> int:
    """Lines of code: no comments, docstrings or blank lines."""
    text = path.read_text(encoding="utf-8")
    other = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in other | {tokenize.ENDMARKER}:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        holds_docstring = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        if holds_docstring and ast.get_docstring(node, clean=False) is not None:
            docstring = node.body[0]
            lines -= set(range(docstring.lineno, docstring.end_lineno + 1))
    return len(lines)


def modules_imported(path: Path) -> set[str]:
    """The full names of all modules that a file imports, wherever in it; type-only ones aside."""
    here = list(path.relative_to(ROOT).parent.parts)
    nodes = list(ast.walk(tree(path)))
    type_only = {
        child
        for node in nodes
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for child in ast.walk(node)
    }
    found: set[str] = set()
    for node in nodes:
        if node in type_only:
            continue
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level + 1] if node.level else []
            module = ".".join([*base, *(node.module.split(".") if node.module else [])])
            found.update(f"{module}.{alias.name}" for alias in node.names)
    return found


def upward(path: Path) -> set[str]:
    """The parts of minidl that a file imports although they stand above its own."""
    names = (name.split(".") for name in modules_imported(path))
    parts = {name[1] for name in names if name[0] == "minidl" and len(name) > 1}
    return {p for p in parts & set(FLOORS) if FLOORS.index(p) < FLOORS.index(part(path))}


def unnamed_records(path: Path) -> list[int]:
    """The lines of calls of `record` that give the operation no name."""
    calls = (node for node in ast.walk(tree(path)) if isinstance(node, ast.Call))
    records = (c for c in calls if isinstance(c.func, ast.Name) and c.func.id == "record")
    return [c.lineno for c in records if all(keyword.arg != "name" for keyword in c.keywords)]


def users(library: str) -> set[str]:
    """The files of the package that import a third-party library."""
    return {
        str(path.relative_to(PACKAGE))
        for path in SOURCES
        if any(name.split(".")[0] == library for name in modules_imported(path))
    }


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_down(path):
    if part(path) != "__init__":
        assert part(path) in FLOORS, f"{path.name} has no place in the house: name it in FLOORS"
    if part(path) not in ("__init__", "lab"):  # these two are written in the public names
        assert not upward(path), f"{path.name} imports {upward(path)} from above"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_the_name_of_an_operation_is_given(path):
    assert not unnamed_records(path), f"{path.name}: record(...) without name= in these lines"


def test_the_engine_can_be_read_in_an_afternoon():
    lines = sum(code_lines(path) for path in SOURCES if part(path) in ENGINE)
    assert lines <= BUDGET, f"the engine has {lines} lines of code"


def test_import_loads_numpy_alone():
    code = "import sys, minidl; print(' '.join(sorted({m.partition('.')[0] for m in sys.modules})))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    third_party = {
        *("cv2", "cupy", "matplotlib", "hypothesis", "rich", "click", "sklearn", "safetensors"),
        *("scipy", "pytest", "torch", "pooch", "onnx", "PIL", "pandas"),
        *("simplejpeg", "tensorboard", "mpi4py", "optuna"),
    }
    assert "numpy" in loaded
    assert not third_party & set(loaded)


@pytest.mark.parametrize(
    ("library", "home"),
    [
        ("cv2", "data/decode.py"),
        ("simplejpeg", "data/decode.py"),
        ("matplotlib", "plot/"),
        ("cupy", "device.py"),
        ("hypothesis", "testing/"),
        ("onnx", "export.py"),
        ("click", "cli/"),
        ("tensorboard", "runs/keepsakes.py"),
        ("mpi4py", "train/distributed.py"),
        ("optuna", "search/"),
    ],
)
def test_a_library_is_imported_in_one_place(library, home):
    assert users(library)
    assert all(user.startswith(home) for user in users(library)), users(library)


@pytest.mark.parametrize("path", DEMOS, ids=lambda p: p.name)
def test_a_demo_shows_its_own_network_and_fits_on_a_page(path):
    inside = {name for name in modules_imported(path) if name.startswith("minidl.")}
    assert not inside, f"{path.name} imports {inside}: a demo is written in `minidl`'s public names"
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 90
