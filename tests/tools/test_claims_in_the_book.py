"""The verdicts that chapter 12 of the book lists are those of the lab's report."""

import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def verdicts(path: Path, row: str) -> dict[str, str]:
    return dict(re.findall(row, path.read_text(encoding="utf-8"), re.MULTILINE))


def test_chapter_12_repeats_the_verdicts_of_the_report():
    report = verdicts(DOCS / "exploding-gradients.md", r"^\| (C\d+) \|.*\*\*(\w+)\*\* \|$")
    (chapter,) = (DOCS / "book").glob("12-*.md")
    listed = verdicts(chapter, r"^\| (C\d+) [^|]+\| (\w+) \|")
    assert len(report) >= 14
    assert listed == report
