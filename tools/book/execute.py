"""Runs every chapter once: `python -m tools.book.execute`. Both languages show the same run.

The executed notebooks lie in build/book/executed, named by the text of their chapter, so that a
page can never show the output of another text. `make book` empties that folder first: the engine
may have changed too. `--notebooks FOLDER` also writes them for readers: runnable, with their
numbers filled in.
"""

import argparse
import re
import shutil
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat.v4 import new_code_cell

from .cells import (
    EXECUTED,
    RUN,
    VALUES,
    cells_of,
    chapters,
    executed_path,
    printed,
    probe,
    values_of,
)
from .source import SRC

PROBE = "probe"  # marks the cells that only print the numbers of the prose
LIMIT = 300  # seconds for a cell
COLOUR = re.compile(r"\x1b\[[\d;]*m")  # of a traceback, for terminals


def execute(path: Path) -> str:
    """Run a chapter and keep the notebook; a line about it. Raises: RuntimeError."""
    start = time.perf_counter()
    text = path.read_text(encoding="utf-8")
    notebook = cells_of(text)
    notebook.cells = [c for cell in notebook.cells for c in _with_probe(cell)]
    with tempfile.TemporaryDirectory() as folder:  # a chapter may write files
        quiet = ["--log-level=ERROR"]  # else each kernel warns that it listens on this machine
        place = {"metadata": {"path": folder}}
        try:
            NotebookClient(
                notebook, timeout=LIMIT, resources=place, extra_arguments=quiet
            ).execute()
        except CellExecutionError as error:
            raise RuntimeError(f"{path.name}: {COLOUR.sub('', str(error))}") from None
    values: dict[str, str] = {}
    for cell in notebook.cells:
        if PROBE in cell.metadata:
            for expression, value in printed(cell.outputs).items():
                if values.setdefault(expression, value) != value:
                    raise RuntimeError(
                        f"{path.name}: {{run}}`{expression}` is {values[expression]} at one place "
                        f"and {value} at another; give the two values two names"
                    )
    notebook.cells = [cell for cell in notebook.cells if PROBE not in cell.metadata]
    notebook.metadata[VALUES] = values
    _check_streams(notebook, path)
    EXECUTED.mkdir(parents=True, exist_ok=True)
    executed_path(text).write_text(nbformat.writes(notebook), encoding="utf-8")
    return f"{path.name}: {time.perf_counter() - start:.1f} s"


def _with_probe(cell: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    code = probe(cell.source) if cell.cell_type == "markdown" else ""
    return [cell, new_code_cell(code, metadata={PROBE: True})] if code else [cell]


def _check_streams(notebook: nbformat.NotebookNode, path: Path) -> None:
    """A warning that a cell prints is an error: no reader shall wonder about it."""
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            if output.output_type == "stream" and output.name == "stderr":
                raise RuntimeError(f"{path.name}: a cell wrote to stderr:\n{output.text}")


def write_notebook(path: Path, folder: Path) -> Path:
    """A chapter's executed notebook as a reader wants it: no roles, the numbers filled in."""
    text = path.read_text(encoding="utf-8")
    notebook = nbformat.reads(executed_path(text).read_text(encoding="utf-8"), as_version=4)
    values = values_of(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = RUN.sub(lambda m: values[m[1]], cell.source)
            cell.source = SRC.sub(lambda m: f"`{m[1]}`", cell.source)
            cell.source = re.sub(
                r"\{(?:term|doc|ref)\}`([^`<]+?)(?: ?<[^`]+)?`", r"\1", cell.source
            )
    out = folder / f"{path.stem}.ipynb"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(nbformat.writes(notebook), encoding="utf-8")
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("chapters", nargs="*", type=Path, help="files; all chapters by default")
    parser.add_argument("--notebooks", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    paths = options.chapters or chapters()
    if not options.chapters:
        shutil.rmtree(EXECUTED, ignore_errors=True)
    with ProcessPoolExecutor(2) as pool:
        try:
            for line in pool.map(execute, paths):
                print(line, flush=True)
        except RuntimeError as error:
            pool.shutdown(cancel_futures=True)
            sys.exit(f"error: {error}")
    if options.notebooks is not None:
        for path in paths:
            print(write_notebook(path.resolve(), options.notebooks))


if __name__ == "__main__":
    main()
