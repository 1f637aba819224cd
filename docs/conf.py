"""Sphinx's settings for the book. `make book` runs it once for each language."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import minidl  # noqa: E402

project = "minidl"
version = release = minidl.__version__
copyright = "the authors of minidl, MIT licence"
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    *(
        f"tools.book.{name}"
        for name in ("values", "source", "math", "search", "microscope", "demos", "reference")
    ),
]
exclude_patterns = ["_*", "*.zh.md"]
source_suffix = {".md": "myst-nb"}

nb_custom_formats = {".md": "tools.book.cells.read"}
nb_execution_mode = "off"  # tools.book.execute has run the chapters, once for both languages
nb_merge_streams = True
myst_enable_extensions = ["dollarmath", "deflist", "colon_fence"]
myst_heading_anchors = 3
suppress_warnings = ["myst.xref_missing_unused"]
nitpicky = False

language = "en"
locale_dirs = ["book/locale"]
gettext_compact = False
gettext_uuid = False
gettext_location = False

html_theme = "furo"
html_title = "minidl"
html_static_path = ["_static"]
html_favicon = "_static/favicon.svg"
templates_path = ["_templates"]
html_sidebars = {
    "**": [
        "sidebar/brand.html",
        "sidebar/search.html",
        "sidebar/language.html",
        "sidebar/scroll-start.html",
        "sidebar/navigation.html",
        "sidebar/scroll-end.html",
    ]
}
html_css_files = ["book.css"]
html_math_renderer = "katex"
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False


def written_in_chinese(app, docname, source):
    """A report that also exists in Chinese, as NAME.zh.md, is that in the Chinese site."""
    twin = ROOT / "docs" / f"{docname}.zh.md"
    if app.config.language == "zh_CN" and twin.exists():
        source[0] = twin.read_text(encoding="utf-8")
    source[0] = re.sub(r"\s?[(（]\[(?:中文|English)\]\([\w.-]+\)[)）]", "", source[0])


def setup(app):
    app.connect("source-read", written_in_chinese)
