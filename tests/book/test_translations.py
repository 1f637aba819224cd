"""The Chinese book is complete, and its numbers and links are those of the English one."""

import re

import pytest

pytest.importorskip("babel", reason="the book's tools are not installed: make book installs them")

from tools.book.cells import RUN
from tools.book.translations import CHINESE, catalog, is_neutral, pages, unfinished

LINK = re.compile(r"\{src\}`(?:[^`<]+<)?([\w.]+)>?`|\{doc\}`[^`<]*<([^`>]+)>`")


@pytest.mark.parametrize("page", pages())
def test_every_paragraph_has_its_chinese(page):
    assert not unfinished(CHINESE / f"{page}.po")


@pytest.mark.parametrize("page", pages())
def test_a_translation_keeps_numbers_links_and_code(page):
    for message in catalog(CHINESE / f"{page}.po"):
        english, chinese = str(message.id), str(message.string)
        assert sorted(RUN.findall(english)) == sorted(RUN.findall(chinese)), english
        assert sorted(LINK.findall(english)) == sorted(LINK.findall(chinese)), english
        assert english.count("$") == chinese.count("$"), english


@pytest.mark.parametrize("page", pages())
def test_emphasis_closes_where_chinese_follows(page):
    """Markdown reads `。**` before a character as the beginning of bold text, not its end."""
    for message in catalog(CHINESE / f"{page}.po"):
        bold = re.findall(r"\*\*(.+?)\*\*", str(message.string))
        assert all(not re.match("[，。：；]", b) for b in bold), bold
        assert all(not re.search("[，。：；？！）]$", b) for b in bold), bold


def test_code_and_formulas_need_no_translation():
    assert is_neutral("{src}`minidl.ops.sin`")
    assert is_neutral("`x.sum()`, `x @ y`")
    assert is_neutral(r"\frac{dy}{dx} = \sin x")
    assert not is_neutral(r"p - [k \text{ is right}]")
    assert not is_neutral("`x` is a tensor")


@pytest.mark.parametrize("page", [page for page in pages() if re.match(r"book/\d", page)])
def test_the_chinese_title_of_a_chapter_is_no_list(page):
    """Markdown reads a line that begins with `7. ` as a list; the title would stay English."""
    titles = [m for m in catalog(CHINESE / f"{page}.po") if re.match(r"\d+\. ", str(m.id))]
    assert titles
    assert all(re.match(r"第 \d+ 章", str(m.string)) for m in titles)
