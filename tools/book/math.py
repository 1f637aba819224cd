"""Formulas, rendered by KaTeX in the page. It lies in the site itself: nothing is fetched."""

from typing import Any

from docutils import nodes
from sphinx import locale
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.util.i18n import docname_to_domain
from sphinx.writers.html5 import HTML5Translator


class TranslatedFormulas(SphinxTransform):
    """Formulas with words in them, in Chinese.

    Sphinx would read the translation as reST, in which a formula that stands by itself is lost.
    """

    default_priority = 15  # before Sphinx translates everything else, at 20

    def apply(self, **options: Any) -> None:
        if self.config.language == "en" or self.app.builder.name == "gettext":
            return
        domain = docname_to_domain(self.env.docname, self.config.gettext_compact)
        folders = [self.env.srcdir / folder for folder in self.config.locale_dirs]
        catalog, _ = locale.init(folders, self.config.language, domain)
        for formula in self.document.findall(nodes.math_block):
            text = catalog.gettext(formula.rawsource or formula.astext())
            formula[:] = [nodes.Text(text)]
            formula["translatable"] = False


def _inline(writer: HTML5Translator, node: nodes.math) -> None:
    writer.body.append(f'<span class="math notranslate">{writer.encode(node.astext())}</span>')
    raise nodes.SkipNode


def _block(writer: HTML5Translator, node: nodes.math_block) -> None:
    writer.body.append(f'<div class="math notranslate">{writer.encode(node.astext())}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_transform(TranslatedFormulas)
    app.add_html_math_renderer("katex", (_inline, None), (_block, None))
    app.add_css_file("katex/katex.min.css")
    app.add_js_file("katex/katex.min.js", loading_method="defer")
    app.add_js_file("formulas.js", loading_method="defer")
    return {"parallel_read_safe": True, "parallel_write_safe": True}
