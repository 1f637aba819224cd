"""The page as one HTML text: its parts come from the server, or all stand within the text.

The page's modules import each other by bare names ("scope/tiles"). An import map in the page leads
each name to an address: to a file of the server, or to a `data:` address that holds the module's
text. So the same modules run in both ways, without a build step, even from `file://`.
"""

import base64
import hashlib
import json
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any

_FOLDER = files(__package__) / "page"
LANGUAGES = ("en", "zh")
TYPES = {"js": "text/javascript", "css": "text/css", "html": "text/html", "LICENSE": "text/plain"}
STYLES = ("uPlot.min.css", "page.css")
PLOTS = "uPlot.iife.min.js"


@cache
def text_of(name: str) -> str:
    """The text of a file of the page."""
    return (_FOLDER / name).read_text(encoding="utf-8")


@cache
def modules() -> dict[str, str]:
    """The page's own modules: {name in imports: file}."""
    names = sorted(f.name for f in _FOLDER.iterdir() if f.name.endswith(".js"))
    return {f"scope/{n.removesuffix('.js')}": n for n in names if n != PLOTS}


@cache
def served_files() -> dict[str, tuple[str, bytes]]:
    """The files that the server sends besides the page: {path: (type, content)}."""
    names = [*modules().values(), *STYLES, PLOTS, "uPlot.LICENSE"]
    return {
        f"/{name}": (f"{TYPES[name.rpartition('.')[2]]}; charset=utf-8", text_of(name).encode())
        for name in names
    }


def served_page(data: dict[str, Any]) -> tuple[str, str]:
    """(page, policy): the page that loads its parts from the server, and the text of the header
    Content-Security-Policy, which forbids it to load anything else.
    """
    where = {name: f"/{file}" for name, file in modules().items()}
    imports = json.dumps({"imports": where})
    links = "".join(f'<link rel="stylesheet" href="/{name}">\n' for name in STYLES)
    page = _filled(links, f'<script src="/{PLOTS}"></script>', imports, data)
    digest = base64.b64encode(hashlib.sha256(imports.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; script-src 'self' 'sha256-{digest}'; connect-src 'self'; "
        "style-src 'self' 'unsafe-inline'; img-src 'self' data:; base-uri 'none'; "
        "form-action 'none'"
    )
    return page, policy


def whole_page(data: dict[str, Any]) -> str:
    """The page with all its parts in it: it loads nothing."""
    where = {
        name: "data:text/javascript;base64," + base64.b64encode(text_of(file).encode()).decode()
        for name, file in modules().items()
    }
    styles = "".join(f"<style>{text_of(name)}</style>\n" for name in STYLES)
    plots = f"<!--\n{text_of('uPlot.LICENSE')}--><script>{text_of(PLOTS)}</script>"
    return _filled(styles, plots, json.dumps({"imports": where}), data)


def _filled(styles: str, plots: str, imports: str, data: dict[str, Any]) -> str:
    words = {language: json.loads(text_of(f"{language}.json")) for language in LANGUAGES}
    blocks = "".join(
        f'<script type="application/json" id="{escape(name)}">{_in_html(value)}</script>\n'
        for name, value in (data | {"words": words}).items()
    )
    start = json.loads(imports)["imports"]["scope/main"]
    head = (
        f'{styles}<script type="importmap">{imports}</script>\n{plots}\n{blocks}'
        f'<script type="module" src="{start}"></script>'
    )
    return text_of("index.html").replace("<!-- parts -->", head)


def _in_html(value: Any) -> str:
    """The value as JSON, in which no text can end the script element around it."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")
