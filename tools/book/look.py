"""Opens the built site in a browser: `python -m tools.book.look` (needs playwright and Chromium).

Every page is loaded in both languages. It fails on an error in the console, a request to any other
place, a formula that is not rendered, a picture that is missing, a page wider than a narrow screen,
or a search that does not find the chain rule. `--pictures FOLDER` also photographs the chapters:
light and dark, wide and narrow.
"""

import argparse
import os
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from .cells import ROOT

SITE = ROOT / "build" / "book" / "site"
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
UNRENDERED = (
    "[...document.querySelectorAll('.math')].filter(m => !m.querySelector('.katex')).length"
)
BROKEN = "[...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src).join(' ')"
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
SEARCHES = {"search.html": "chain rule", "zh/search.html": "链式法则"}


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """No line for each request."""


def look(page: Page, address: str, name: str) -> list[str]:
    """What is wrong with a page."""
    found: list[str] = []
    page.on("console", lambda m: m.type == "error" and found.append(f"{name}: {m.text}"))
    page.on("pageerror", lambda error: found.append(f"{name}: {error}"))
    page.on("request", lambda r: _outside(r.url, address) and found.append(f"{name}: {r.url}"))
    page.goto(f"{address}/{name}", wait_until="load")
    page.wait_for_timeout(50)
    if count := page.evaluate(UNRENDERED):
        found.append(f"{name}: {count} formulas are not rendered")
    if broken := page.evaluate(BROKEN):
        found.append(f"{name}: no picture {broken}")
    page.set_viewport_size(NARROW)
    if (over := page.evaluate(OVERFLOW)) > 1:
        found.append(f"{name}: {over} pixels too wide for a narrow screen")
    return found


def _outside(url: str, address: str) -> bool:
    return not url.startswith((address, "data:", "blob:", "about:"))


def search(page: Page, address: str, name: str, words: str) -> list[str]:
    page.goto(f"{address}/{name}?q={words}")
    page.wait_for_timeout(1500)
    hits = page.locator("ul.search li a").all_inner_texts()
    print(f"{name}: {words!r} finds {hits[:4]}")
    return [] if hits else [f"{name}: {words!r} is not found"]


def photograph(page: Page, address: str, name: str, folder: Path) -> None:
    page.goto(f"{address}/{name}", wait_until="load")
    for theme in ("light", "dark"):
        page.evaluate(f"document.body.dataset.theme = '{theme}'")
        for size, viewport in (("wide", WIDE), ("narrow", NARROW)):
            page.set_viewport_size(viewport)
            page.wait_for_timeout(100)
            stem = name.removesuffix(".html").replace("/", "-")
            page.screenshot(path=folder / f"{stem}-{theme}-{size}.png", full_page=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=Path, metavar="FOLDER")
    parser.add_argument("--only", default="", help="pages whose address contains this")
    options = parser.parse_args()
    handler = partial(Quiet, directory=str(SITE))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    names = sorted(path.relative_to(SITE).as_posix() for path in SITE.rglob("*.html"))
    names = [n for n in names if "_static" not in n and "microscope/" not in n]
    found: list[str] = []
    with sync_playwright() as play:
        executable = os.environ.get("CHROMIUM", "/usr/bin/chromium")
        browser = play.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        # One context for all pages: its cache loads fonts and scripts once, not with every page.
        context = browser.new_context(viewport=WIDE)
        looked = [n for n in names if options.only in n]
        for done, name in enumerate(looked, 1):
            page = context.new_page()
            found += look(page, address, name)
            page.close()
            if done % 100 == 0 or done == len(looked):
                print(f"{done} of {len(looked)} pages, {len(found)} faults", flush=True)
        page = browser.new_page(viewport=WIDE)
        for name, words in SEARCHES.items():
            found += search(page, address, name, words)
        if options.pictures is not None:
            options.pictures.mkdir(parents=True, exist_ok=True)
            for name in (n for n in looked if "book/" in n):
                photograph(page, address, name, options.pictures)
        browser.close()
    server.shutdown()
    print("\n".join(found))
    print(f"{len(looked)} pages, {len(found)} faults")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
