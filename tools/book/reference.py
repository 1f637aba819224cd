"""The reference: every public name of a module, from its docstring.

The directive {reference} `minidl.ops` lists them all, so that no name can be forgotten. The
docstrings are written for readers of the source. Here they become reST: formulas for KaTeX, a list
for the arguments, a bold word for "Shapes:", "Numerics:" and the like, and a link to the source.
"""

import inspect
import re
from importlib import import_module
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import minidl

from .source import find
from .tex import formulas

HEADS = ("Shapes", "Gradient", "Numerics", "Raises", "Source", "Formula")


def public(module_name: str) -> list[str]:
    """The public names of a module: those of __all__, or what its package itself defines."""
    module = import_module(module_name)
    listed = getattr(module, "__all__", None)
    if listed is None:
        listed = [n for n in dir(module) if not n.startswith("_") and _own(module_name, module, n)]
    return sorted(
        (n for n in listed if _at_home(module_name, getattr(module, n), n)), key=str.lower
    )


def _at_home(module_name: str, value: Any, name: str) -> bool:
    """Whether a name is described here: one that has two addresses is described at the shorter."""
    if inspect.ismodule(value):
        return False
    if module_name == "minidl":
        return getattr(value, "__module__", "") != "minidl.errors"
    return module_name == "minidl.errors" or getattr(minidl, name, None) is not value


def _own(module_name: str, module: Any, name: str) -> bool:
    value = getattr(module, name)
    home = getattr(value, "__module__", "") or ""
    documented = inspect.isclass(value) or inspect.isfunction(value)
    part = module_name if module_name != "minidl" else "minidl."
    return documented and home.startswith(part) and home != "minidl.habits"


class Reference(SphinxDirective):
    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        module = self.arguments[0]
        lines = ["```{eval-rst}"]
        for name in public(module):
            value = getattr(import_module(module), name)
            kind = "class" if inspect.isclass(value) else "function"
            lines.append(f".. auto{kind}:: {module}.{name}")
            if kind == "class":
                lines.append("   :members:")
            lines.append("")
        return self.parse_text_to_nodes("\n".join([*lines, "```"]), allow_section_headings=False)


def to_rest(app: Sphinx, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    """Rewrite a docstring in place."""
    paragraphs = "\n".join(lines).strip().split("\n\n")
    out: list[str] = []
    for paragraph in paragraphs:
        for block in _blocks(paragraph.split("\n")):
            out += [block, ""]
    try:
        find(name)
    except LookupError:
        pass
    else:
        if what in ("class", "function"):
            out += [f":src:`source <{name}>`", ""]
    lines[:] = out


def _blocks(lines: list[str]) -> list[str]:
    """One block for each argument or heading, lines that go on joined to it."""
    joined: list[str] = []
    for line in lines:
        begins = re.match(r"[a-zA-Z_][\w, *]*: ", line) is not None
        if joined and not begins and not line.startswith("    "):
            joined[-1] += " " + line.strip()
        elif line.startswith("    ") and joined and not begins:
            joined.append("CODE" + line)
        else:
            joined.append(line.strip())
    return [_block(text) for text in joined]


def _block(text: str) -> str:
    if text.startswith("CODE"):
        return "::\n\n    " + text.removeprefix("CODE").strip()
    head = re.match(r"([a-zA-Z_][\w, *]*): (.*)", text)
    if head is None:
        return _prose(text)
    mark = "**" if head[1] in HEADS else "``"
    return f"{mark}{head[1].replace('*', '')}{mark}: {_prose(head[2])}"


def _prose(text: str) -> str:
    """Text with its code and its formulas marked, everything else escaped."""
    out = []
    for number, piece in enumerate(text.split("`")):
        if number % 2:
            out.append(f"``{piece}``\\ ")
        else:
            for is_tex, part in formulas(piece):
                out.append(f":math:`{part}`\\ " if is_tex else _escaped(part))
    return "".join(out)


def _escaped(text: str) -> str:
    return re.sub(r"([\\*`|_])", r"\\\1", text)


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("reference", Reference)
    app.connect("autodoc-process-docstring", to_rest)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
