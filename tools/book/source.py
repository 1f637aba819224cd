"""The role {src}`minidl.ops.matmul`: a link to that very line of minidl's source.

The name may be a module, a function, a class, a method, or anything assigned in a module, private
or not; a wrong name is a warning, and warnings are errors. Each file of minidl is a page of the
site, with an address for every line.
"""

import ast
import inspect
import re
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from docutils import nodes
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxRole

from .cells import ROOT

LOG = logging.getLogger(__name__)
SRC = re.compile(r"\{src\}`(?:[^`<]+<)?([\w.]+)>?`")
PACKAGE = ROOT / "minidl"


def find(name: str) -> tuple[Path, int]:
    """The file and line where a name of minidl is defined. Raises: LookupError."""
    found, rest = _module_of(name)
    if not rest:
        return Path(found.__file__ or ""), 1
    value: Any = found
    for part in rest:
        if not hasattr(value, part) and part not in getattr(value, "__annotations__", {}):
            raise LookupError(f"{name}: {getattr(value, '__name__', value)} has no {part!r}")
        value = getattr(value, part, None)
    home = getattr(value, "__module__", None) or found.__name__
    qualified = getattr(value, "__qualname__", ".".join(rest))
    for module, wanted in ((home, qualified), (found.__name__, ".".join(rest))):
        if not str(module).startswith("minidl"):
            continue
        path = Path(inspect.getsourcefile(import_module(module)) or "")
        line = _lines(path).get(wanted)
        if line is not None:
            return path, line
    raise LookupError(f"{name}: no line of {home} defines it")


def _module_of(name: str) -> tuple[ModuleType, list[str]]:
    """The longest part of the name that is a module, and what is left of the name."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        try:
            return import_module(".".join(parts[:count])), parts[count:]
        except ModuleNotFoundError:
            continue
    raise LookupError(f"{name}: there is no such module")


@cache
def _lines(path: Path) -> dict[str, int]:
    """The line of each definition in a file: functions, classes, methods, names assigned."""
    found: dict[str, int] = {}

    def visit(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                found.setdefault(prefix + node.name, node.lineno)
                if isinstance(node, ast.ClassDef):
                    visit(node.body, f"{prefix}{node.name}.")
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", 0)]
            for target in targets:
                if isinstance(target, ast.Name):
                    found.setdefault(prefix + target.id, node.lineno)

    visit(ast.parse(path.read_text(encoding="utf-8")).body, "")
    return found


def page_of(path: Path) -> str:
    """The page of the site that shows a file of minidl."""
    return "source/" + path.relative_to(ROOT).with_suffix("").as_posix()


class Src(SphinxRole):
    """A link to the source; {src}`text <name>` shows another text than the name."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        match = re.fullmatch(r"(.+?)\s*<([\w.]+)>", self.text)
        text, name = match.groups() if match else (self.text, self.text)
        literal = nodes.literal(text, text)
        try:
            path, line = find(name)
        except LookupError as error:
            LOG.warning("{src}: %s", error, location=self.get_location())
            return [literal], []
        up = "../" * self.env.docname.count("/")
        if getattr(self.env.app.builder, "name", "") == "dirhtml":
            up += "../"
        address = f"{up}{page_of(path)}.html#L-{line}"
        return [nodes.reference("", "", literal, refuri=address, classes=["source"])], []


def pages(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    """A page for each file of minidl."""
    formatter = HtmlFormatter(linenos=False, lineanchors="", linespans="L", cssclass="highlight")
    listed = []
    for path in sorted(PACKAGE.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        name = path.relative_to(ROOT).as_posix()
        code = highlight(text, PythonLexer(stripnl=False), formatter)
        body = f"<h1>{name}</h1><div class='source-file notranslate'>{code}</div>"
        yield page_of(path), {"title": name, "body": body}, "page.html"
        says = (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]
        here = page_of(path).removeprefix("source/")
        listed.append(f"<li><a href='{here}.html'><code>{name}</code></a> {_escaped(says)}</li>")
    title = "源代码" if app.config.language == "zh_CN" else "The source of minidl"
    body = f"<h1>{title}</h1><ul class='source-list'>{''.join(listed)}</ul>"
    yield "source/index", {"title": title, "body": body}, "page.html"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("`", "")


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_role("src", Src())
    app.connect("html-collect-pages", pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
