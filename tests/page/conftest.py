"""The page in a browser: live from the server, and from a file that was exported."""

import shutil
import time

import pytest

from minidl.scope.opening import Scope
from minidl.scope.recorded import Plan, export
from minidl.scope.subject import LabNetwork

CHROMIUM = shutil.which("chromium")
LITTLE = Plan(grid=({"scale": (0.4, 1.0, 2.46), "depth": (4, 8)},), filmed=({"rate": (0.03, 0.1)},))


class Driven:
    """A page under test: every error of its console, and every address that it asked for."""

    def __init__(self, page, address):
        self.page, self.address = page, address
        self.errors, self.asked = [], []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on(
            "console",
            lambda m: self.errors.append(m.text) if m.type in ("error", "warning") else None,
        )
        page.on("request", lambda request: self.asked.append(request.url))
        page.goto(address)
        self.until("document.body.dataset.moves >= 1")

    def until(self, condition, seconds=60):
        """Wait until a condition of the page holds. The page's policy forbids it to wait itself."""
        end = time.monotonic() + seconds
        while not self.page.evaluate(f"Boolean({condition})"):
            assert time.monotonic() < end, f"{condition} never came; {self.errors}"
            time.sleep(0.01)

    def after(self, action):
        """Do something that asks the engine, and wait for its answer to be drawn."""
        before = int(self.page.get_attribute("body", "data-moves"))
        action()
        self.until(f"document.body.dataset.moves > {before}")

    def put(self, selector, value):
        """Give a field a value as somebody would who moves it."""
        script = "(e, v) => { e.value = v; for (const n of ['input', 'change']) "
        script += "e.dispatchEvent(new Event(n, { bubbles: true })) }"
        self.after(lambda: self.page.eval_on_selector(selector, script, str(value)))

    def scene(self, name):
        """Open a scene."""
        self.after(lambda: self.page.click(f"[data-scene={name}]"))
        self.until("!document.querySelector('[data-answer=\"0\"]').textContent.includes('{')")
        self.until("document.querySelector('[data-answer=\"0\"]').textContent !== ''")

    def tab(self, name):
        """Open a tab."""
        self.after(lambda: self.page.click(f"#tab-{name}"))

    def film(self):
        """Let it happen, to the end."""
        self.page.click("#go")
        self.until("document.body.dataset.film === 'done'")
        return self.page.get_attribute("body", "data-end")

    def check(self):
        """No error, no empty words, and nothing from another host."""
        assert not self.errors
        own = self.address.split("/")[2]
        for url in self.asked:
            allowed = url.startswith("data:") or url.split("/")[2] == own
            assert allowed, f"the page asked for {url}"
        text = self.page.inner_text("body")
        for bad in ("undefined", "[object", "{", "NaN ms"):
            assert bad not in text.replace("lambda", ""), f"{bad} on the page"


@pytest.fixture(scope="session")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="`make test-page` installs it")
    if CHROMIUM is None:
        pytest.skip("no chromium here: `make test-page` installs it where it can")
    with playwright.sync_playwright() as p:
        found = p.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture(scope="session")
def server():
    with Scope(LabNetwork()) as opened:
        yield opened


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """The address of an exported page."""
    path = tmp_path_factory.mktemp("page") / "scope.html"
    export(path, LITTLE)
    return f"file://{path}"


@pytest.fixture
def drive(browser):
    """Opens an address in a window of its own; at the end each page is checked."""
    opened = []

    def start(address, **options):
        context = browser.new_context(**({"viewport": {"width": 1280, "height": 900}} | options))
        driven = Driven(context.new_page(), address)
        opened.append((context, driven))
        return driven

    yield start
    for context, driven in opened:
        driven.check()
        context.close()


@pytest.fixture
def lab(drive, server):
    """The live page of the lab's network."""
    return drive(server.url)
