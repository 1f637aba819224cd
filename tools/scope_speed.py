"""How fast the microscope answers a slider, and whether a long session makes its memory grow.

    make test-page; python tools/scope_speed.py --moves 500

Opens the page in Chromium, moves random sliders of the network of 8 layers × 16 channels, and
prints the time from a move to the drawn page, and the growth of the server's memory. The first
moves are not counted: they read sources and fill caches.
"""

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
from playwright.sync_api import Page, sync_playwright

from minidl.scope.opening import Scope
from minidl.scope.subject import LabNetwork

WARM = 20


def resident() -> float:
    """This process's memory in MB (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def script_memory(page: Page) -> float:
    """The memory of the page's scripts in MB, garbage aside."""
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    used: float = session.send("Runtime.getHeapUsage")["usedSize"]
    return used / 1e6


def move(page: Page, name: str, value: int) -> float:
    """Milliseconds from the move to the drawn page, as the page itself sees it."""
    script = """([name, value]) => new Promise((done) => {
        const field = document.querySelector(`#controls [name=${name}]`);
        const start = performance.now();
        new MutationObserver((_, watcher) => {
            watcher.disconnect();
            const drawn = () => done(performance.now() - start);
            requestAnimationFrame(() => requestAnimationFrame(drawn));
        }).observe(document.body, { attributeFilter: ["data-moves"] });
        field.value = value;
        field.dispatchEvent(new Event("input"));
    })"""
    taken: float = page.evaluate(script, [name, value])
    return taken


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="How fast is the microscope?")
    parser.add_argument("--moves", type=int, default=500)
    parser.add_argument("--tab", default="network", choices=["network", "operations"])
    parser.add_argument("--all-sizes", action="store_true", help="Move depth and width too.")
    options = parser.parse_args()
    names = ["scale", "rate", "inputs"] + ["depth", "width"] * options.all_sizes
    rng = np.random.default_rng(0)
    with Scope(LabNetwork()) as opened, sync_playwright() as p:
        browser = p.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(opened.url)
        page.wait_for_selector("body[data-moves]")
        page.click(f"#tab-{options.tab}")
        page.wait_for_selector(f"#{options.tab} .pictures, #{options.tab} table")
        times, before, heap = [], 0.0, 0.0
        start = time.monotonic()
        for number in range(options.moves + WARM):
            if number == WARM:
                before, heap = resident(), script_memory(page)
            name = str(rng.choice(names))
            high = {"depth": 33, "width": 65}.get(name, 200)
            taken = move(page, name, int(rng.integers(2, high)))
            times += [taken] * (number >= WARM)
        print(f"{options.moves} moves in {time.monotonic() - start:.0f} s, view: {options.tab}")
        print(f"median {statistics.median(times):.0f} ms, slowest {max(times):.0f} ms")
        grown = script_memory(page) - heap
        print(
            f"memory grew by {resident() - before:.1f} MB in the server, {grown:.1f} MB in the page"
        )
        browser.close()


if __name__ == "__main__":
    main()
