"""The picture of the microscope in its documentation.

make test-page; python tools/scope_picture.py docs/figures/microscope.png
"""

import shutil
import sys

from playwright.sync_api import sync_playwright

from minidl.scope.opening import Scope
from minidl.scope.subject import LabNetwork


def main() -> None:
    """Open the second scene, answer its question, and take the picture."""
    with Scope(LabNetwork()) as opened, sync_playwright() as p:
        browser = p.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(
            viewport={"width": 1280, "height": 900}, locale="en-GB", color_scheme="light"
        )
        page.goto(opened.url)
        page.click("[data-scene=explodes]")
        page.wait_for_selector("[data-verdict='will diverge']")
        page.click("[data-answer='2']")
        page.wait_for_selector("#said.good")
        page.screenshot(path=sys.argv[1])
        browser.close()


if __name__ == "__main__":
    main()
