"""The chapters keep the form that a reader relies on. `make book` runs and builds them."""

import re
from pathlib import Path

import pytest

pytest.importorskip("sphinx", reason="the book's tools are not installed: make book installs them")

from minidl.exercises.registry import numbers
from tools.book.cells import FENCE, chapters
from tools.book.source import SRC, find

CHAPTERS = chapters()
PAGES = sorted((Path(__file__).parents[2] / "docs").rglob("*.md"))
SECTIONS = ("## In minidl's source", "## If it is done wrong", "## Exercise")
TERM = re.compile(r"\{term\}`(?:[^`<]+<)?([^`>]+)>?`")


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def test_the_chapters_are_numbered_and_each_has_an_exercise():
    expected = list(range(1, 14))
    assert [int(path.name[:2]) for path in CHAPTERS] == expected
    assert numbers() == expected


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.stem)
def test_a_chapter_opens_with_a_question_and_has_its_sections(path):
    text = text_of(path)
    assert text.startswith(f"# {int(path.name[:2])}. ")
    opening = text.partition("\n## ")[0]
    assert "?" in opening
    places = [text.find(f"\n{section}\n") for section in SECTIONS]
    assert -1 not in places and places == sorted(places)
    assert f"minidl exercise {int(path.name[:2])}" in text


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.stem)
def test_cells_are_short_and_draw_a_picture(path):
    cells = [fence[1] for fence in FENCE.finditer(text_of(path))]
    assert all(cell.count("\n") <= 25 for cell in cells)
    assert any("new_figure(" in cell for cell in cells)


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.stem)
def test_links_to_the_source_exist(path):
    for name in SRC.findall(text_of(path)):
        find(name)


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.stem)
def test_a_term_stands_in_the_glossary(path):
    glossary = text_of(path.parent / "glossary.md").lower()
    for term in TERM.findall(text_of(path)):
        assert f"\n{term.strip().lower()}\n" in glossary, term
