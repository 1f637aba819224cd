"""The source of an operation, with the places of its pullbacks in it.

Python keeps for each piece of compiled code the lines and columns that it was written in. The
function around it is found in the syntax tree of its file, so what the page shows is the text that
ran, read from its file.
"""

import ast
import inspect
import linecache
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import CodeType
from typing import Any

from ..kernels import reference

PACKAGE = Path(__file__).parents[1]
# For an operation with kernels: the loops of `kernels/reference` that compute it and its gradients.
LOOPS = {
    "conv2d": ("conv_forward", "conv_input_grad", "conv_weight_grad"),
    "conv_transpose2d": ("conv_input_grad", "conv_forward", "conv_weight_grad"),
    "max_pool2d": ("max_pool", "max_unpool"),
    "avg_pool2d": ("avg_pool", "avg_unpool"),
}


@dataclass(frozen=True)
class Source:
    """The text of the function in which an operation is defined, and where it stands."""

    file: str
    line: int
    text: str


@dataclass(frozen=True)
class Place:
    """Where a pullback stands in the source of its operation: from one character to another."""

    source: Source
    start: int
    end: int


@lru_cache(maxsize=256)
def _parsed(path: str) -> tuple[list[str], ast.Module] | None:
    text = "".join(linecache.getlines(path))  # also the cells of a notebook
    try:
        return (text.splitlines(), ast.parse(text)) if text else None
    except SyntaxError:
        return None


@lru_cache(maxsize=4096)
def place_of(code: CodeType) -> Place | None:
    """The place of a pullback's code in the source; None where its text cannot be read."""
    parsed = _parsed(code.co_filename)
    around = _around(parsed[1], code) if parsed else []
    outer = _operation(around)
    if parsed is None or outer is None:
        return None
    lines, inner = parsed[0], around[-1]
    end: int = outer.end_lineno or outer.lineno
    margin = len(lines[outer.lineno - 1]) - len(lines[outer.lineno - 1].lstrip())
    shown = [line[margin:] for line in lines[outer.lineno - 1 : end]]

    def position(line: int, column: int) -> int:
        """The index of a line and column in the shown text; `ast` counts columns in bytes."""
        before = len(lines[line - 1].encode()[:column].decode()) - margin
        return sum(len(text) + 1 for text in shown[: line - outer.lineno]) + before

    source = Source(_short(code.co_filename), outer.lineno, "\n".join(shown))
    start = position(inner.lineno, inner.col_offset)
    return Place(source, start, position(inner.end_lineno, inner.end_col_offset))


def code_of(function: Callable[..., Any]) -> CodeType | None:
    """The code of a Python function; None for anything else that can be called."""
    return getattr(function, "__code__", None)


def held_by(function: Callable[..., Any]) -> dict[str, Any]:
    """The variables of the function around it that a function keeps (its closure), by name.

    A convolution's pullback, for example, keeps the convolution's geometry.
    """
    cells = getattr(function, "__closure__", None) or ()
    names = getattr(getattr(function, "__code__", None), "co_freevars", ())
    return {name: cell.cell_contents for name, cell in zip(names, cells, strict=True)}


@lru_cache
def loops_of(operation: str) -> list[Source]:
    """The loops of `kernels/reference` for an operation and its gradients; none for most."""
    found = []
    for name in LOOPS.get(operation, ()):
        code = getattr(reference, name).__code__
        text, _ = inspect.getsourcelines(getattr(reference, name))
        body = "".join(text).rstrip()
        found.append(Source(_short(code.co_filename), code.co_firstlineno, body))
    return found


def _short(path: str) -> str:
    """A file's path from `minidl/` on; for a file outside the package its name."""
    try:
        return str(Path("minidl") / Path(path).relative_to(PACKAGE))
    except ValueError:
        return Path(path).name


def _around(tree: ast.Module, code: CodeType) -> list[Any]:
    """The functions around the code, the outermost first, its own last."""
    starts = [
        (line, column)
        for line, _, column, end in code.co_positions()
        if line and column is not None and line >= code.co_firstlineno and (end or 0) > column
    ]
    if not starts:
        return []
    line, column = min(starts)
    found: list[Any] = []

    def visit(node: ast.AST, above: list[Any]) -> None:
        nonlocal found
        for child in ast.iter_child_nodes(node):
            here = above
            if isinstance(child, ast.FunctionDef | ast.Lambda) and _holds(child, line, column):
                here = [*above, child]
                found = here
            visit(child, here)

    visit(tree, [])
    return found


def _operation(around: list[Any]) -> ast.FunctionDef | None:
    """The function that records the operation: the innermost that calls something with `name=`.

    The outermost one, where none does.
    """
    functions = [f for f in around if isinstance(f, ast.FunctionDef)]
    for function in reversed(functions):
        calls = (node for node in ast.walk(function) if isinstance(node, ast.Call))
        if any(keyword.arg == "name" for call in calls for keyword in call.keywords):
            return function
    return functions[0] if functions else None


def _holds(node: Any, line: int, column: int) -> bool:
    if isinstance(node, ast.FunctionDef):
        return bool(node.lineno <= line <= (node.end_lineno or 0))
    start, end = (node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset)
    return bool(start <= (line, column) < end)
