"""Each exercise: its solution passes, its blank fails, and each planted mistake is named."""

import ast
from pathlib import Path

import pytest

from minidl.errors import ConfigError, DataError
from minidl.exercises import Wrong, exercise, exercises, judge

HERE = Path(__file__).parent
EXERCISES = exercises()
MISTAKES = sorted(HERE.glob("chapter*/wrong_*.py"))


def folder(number: int) -> Path:
    return HERE / f"chapter{number:02}"


def expected(path: Path) -> str:
    """The words that a message about this answer must contain: the first line of its docstring."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    first = text.partition("\n")[0]
    assert first.startswith("Expect: "), f"{path}: the docstring begins with 'Expect: ...'"
    return first.removeprefix("Expect: ")


@pytest.mark.parametrize("one", EXERCISES, ids=lambda e: str(e.number))
def test_the_solution_is_right(one):
    assert judge(one, folder(one.number) / "solution.py")


@pytest.mark.parametrize("one", EXERCISES, ids=lambda e: str(e.number))
def test_the_blank_is_not_written_yet(one, tmp_path):
    path = tmp_path / one.file
    path.write_text(one.blank, encoding="utf-8")
    with pytest.raises(Wrong, match="not written yet"):
        judge(one, path)


@pytest.mark.parametrize("path", MISTAKES, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_a_planted_mistake_is_named(path):
    with pytest.raises(Wrong) as caught:
        judge(exercise(int(path.parent.name[-2:])), path)
    assert expected(path).lower() in str(caught.value).lower()


@pytest.mark.parametrize("one", EXERCISES, ids=lambda e: str(e.number))
def test_three_mistakes_are_planted_and_told_apart(one):
    planted = list(folder(one.number).glob("wrong_*.py"))
    assert len(planted) >= 3
    assert len({expected(path) for path in planted}) == len(planted)


def test_an_unknown_exercise():
    with pytest.raises(ConfigError, match="got 99"):
        exercise(99)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def square(x:\n", "Line 1 is no Python"),
        ("x = 1\n", "no `square`"),
        ("square = 3\n", "must be a function"),
        ("1 / 0\n", "Line 1, `1 / 0`, raised ZeroDivisionError"),
        ("def square(x):\n    return square(x)\n", "without an end"),
        ("def square(x):\n    x * x\n", "is there a `return`"),
        ("def square(x):\n    return 'nine'\n", "must be numbers"),
        ("def square(x):\n    return x.data**2\n", "without a memory"),
        ("def square(x):\n    return (x * x).sum()\n", "has shape ()"),
    ],
)
def test_whatever_happens_becomes_a_sentence(text, words, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(Wrong) as caught:
        judge(exercise(1), path)
    assert words in str(caught.value)


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(DataError, match="cannot read"):
        judge(exercise(1), tmp_path)
