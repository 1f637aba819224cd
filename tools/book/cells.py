"""A chapter is plain Markdown whose ```python fences are its cells.

Two things in it depend on the run: what a cell shows, and the numbers in the prose. A number is
written as a Python expression, with a format if it needs one:

    The loss falls from {run}`losses[0]:.2f` to {run}`losses[-1]:.2f`.

It is evaluated where it stands: after the last cell above it.
"""

import hashlib
import json
import re
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

ROOT = Path(__file__).parents[2]
CHAPTERS = ROOT / "docs" / "book"
EXECUTED = ROOT / "build" / "book" / "executed"
TITLE = re.compile(r"# \d+\. ")
FENCE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
RUN = re.compile(r"\{run\}`([^`]+)`")
VALUES = "values"  # where an executed notebook keeps the numbers of its prose


def chapters() -> list[Path]:
    """The files of the chapters, in order."""
    return sorted(CHAPTERS.glob("[0-9][0-9]-*.md"))


def is_chapter(text: str) -> bool:
    """Whether a page is a chapter: its title begins with a number."""
    return bool(TITLE.match(text))


def read(text: str) -> nbformat.NotebookNode:
    """The page as a notebook: a chapter's fences are code cells, with what they showed when run."""
    done = executed(text)
    return done if done is not None else cells_of(text)


def cells_of(text: str) -> nbformat.NotebookNode:
    """The page as a notebook that has not been run."""
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    cells = []
    place = 0
    if is_chapter(text):
        for fence in FENCE.finditer(text):
            cells += [new_markdown_cell(text[place : fence.start()]), new_code_cell(fence[1][:-1])]
            place = fence.end()
    cells.append(new_markdown_cell(text[place:]))
    for number, cell in enumerate(cells):
        cell.id = f"cell-{number}"  # the same at every build
    return new_notebook(cells=cells, metadata=metadata)


def executed(text: str) -> nbformat.NotebookNode | None:
    """The page as a notebook that `execute` has run, if it has."""
    path = executed_path(text)
    if not is_chapter(text) or not path.exists():
        return None
    return nbformat.reads(path.read_text(encoding="utf-8"), as_version=4)


def executed_path(text: str) -> Path:
    """Where the executed notebook of this very text is kept."""
    return EXECUTED / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.ipynb"


def probe(markdown: str) -> str:
    """Code that prints the values of the expressions in a piece of prose, as JSON; or nothing."""
    wanted = RUN.findall(markdown)
    if not wanted:
        return ""
    texts = ", ".join(f"{e!r}: f{'{' + e + '}'!r}" for e in dict.fromkeys(wanted))
    return f"import json as _json; print(_json.dumps({{{texts}}}))"


def values_of(notebook: nbformat.NotebookNode) -> dict[str, str]:
    """The numbers of the prose: each expression with its value as text."""
    return dict(notebook.metadata.get(VALUES, {}))


def printed(outputs: list[nbformat.NotebookNode]) -> dict[str, str]:
    """What a cell of `probe` has printed."""
    return json.loads("".join(o.text for o in outputs if o.output_type == "stream"))
