"""`minidl exercise`: writes the blank file, then judges the reader's own."""

from pathlib import Path

import pytest

pytest.importorskip("click", reason="click is not installed")

from click.testing import CliRunner

from minidl.cli import cli
from minidl.exercises import exercise, exercises

SOLUTION = Path(__file__).parent / "chapter01" / "solution.py"


def call(*arguments, code=0):
    result = CliRunner().invoke(cli, ["exercise", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result.output


def test_the_list():
    lines = call().splitlines()
    assert len(lines) == len(exercises())
    assert exercise(1).title in lines[0]


def test_from_the_blank_file_to_the_right_answer(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "written: exercise_01.py" in call(1)
    mine = tmp_path / "exercise_01.py"
    assert mine.read_text(encoding="utf-8") == exercise(1).blank
    assert "Not yet. `square` is not written yet" in call(1, code=1)
    mine.write_text(SOLUTION.read_text(encoding="utf-8"), encoding="utf-8")
    assert "Right." in call(1)


def test_another_file():
    assert "Right." in call(1, "--file", SOLUTION)


def test_a_number_without_an_exercise():
    assert "error: exercise: expected the number of a chapter" in call(99, code=2)


def test_a_place_that_cannot_be_written(tmp_path):
    assert "cannot write" in call(1, "--file", tmp_path / "none" / "mine.py", code=2)


def test_a_file_that_ends_the_program_is_no_answer(tmp_path):
    mine = tmp_path / "mine.py"
    mine.write_text("import sys\nsys.exit(0)\n", encoding="utf-8")
    assert "Not yet. The file ends the program" in call(1, "--file", mine, code=1)
