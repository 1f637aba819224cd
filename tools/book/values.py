"""The role {run}: a number in the prose, taken from the run of the chapter."""

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxRole

from .cells import executed, values_of

LOG = logging.getLogger(__name__)


class Value(nodes.Inline, nodes.Element):
    """The place of a number until the page has been read."""


class Run(SphinxRole):
    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        return [Value(self.rawtext, expression=self.text)], []


def fill_in(app: Sphinx, document: nodes.document) -> None:
    """Put the values into a page that was read, in whichever language."""
    places = list(document.findall(Value))
    if not places or app.builder.name == "gettext":
        return
    notebook = executed(app.env.doc2path(app.env.docname).read_text(encoding="utf-8"))
    values = {} if notebook is None else values_of(notebook)
    for place in places:
        expression = place["expression"]
        if expression not in values:
            LOG.warning(
                "{run}`%s` has no value: run `python -m tools.book.execute`, and use in a "
                "translation only what stands in the original",
                expression,
                location=place,
            )
        text = values.get(expression, "?")
        place.replace_self(nodes.inline(text, text, classes=["from-run"]))


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_node(Value)
    app.add_role("run", Run())
    app.connect("doctree-read", fill_in)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
