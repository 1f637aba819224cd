"""The code on the pages of the book runs as it stands there."""

import re
from pathlib import Path

import pytest

import minidl as md

DOCS = Path(__file__).parents[1] / "docs"
PAGES = ("testing-gradients.md", "../README.md")
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES)
def test_the_code_on_a_page_runs(page, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a page may write files
    text = (DOCS / page).read_text(encoding="utf-8")
    names = {"__name__": "page"}
    blocks = list(BLOCK.finditer(text))
    assert blocks
    for block in blocks:
        line = text[: block.start(1)].count("\n")
        exec(compile("\n" * line + block[1], str(DOCS / page), "exec"), names)


@pytest.mark.parametrize("page", PAGES)
def test_links_between_pages_are_relative(page):
    text = (DOCS / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert target.startswith("https://") or re.fullmatch(r"[\w./-]+", target)


def test_the_readme_counts_the_operations():
    text = (DOCS / "../README.md").read_text(encoding="utf-8")
    assert f"the {len(md.ops.__all__)} operations" in text
