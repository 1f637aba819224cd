"""The directive {microscope}: the recorded microscope, to be used inside a page.

    ```{microscope} explodes
    What to look at.
    ```

Its argument names a scene of the microscope. `python -m tools.book.microscope` exports the page
once for both languages; it reaches the site as microscope/index.html, and is shown in a frame under
the text. Where minidl has no microscope, the directive leaves no trace.
"""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from .cells import ROOT

LOG = logging.getLogger(__name__)
EXPORTED = ROOT / "build" / "book" / "microscope" / "index.html"


class Microscope(SphinxDirective):
    has_content = True
    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        text = self.parse_content_to_nodes()
        app = self.env.app
        if app.builder.name == "gettext":
            return text
        if app.builder.format != "html" or find_spec("minidl.scope") is None:
            return []
        if not EXPORTED.exists():
            LOG.warning(
                "no microscope: run python -m tools.book.microscope", location=self.get_location()
            )
            return text
        target = Path(app.outdir) / "microscope" / "index.html"
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(EXPORTED.read_bytes())
        chinese = app.config.language == "zh_CN"
        scene = f"?language={'zh' if chinese else 'en'}#{self.arguments[0]}"
        address = "../" * self.env.docname.count("/") + f"microscope/index.html{scene}"
        title = "显微镜" if chinese else "the microscope"
        style = f'class="microscope" title="{title}"'
        frame = f'<iframe {style} src="{address}" loading="lazy"></iframe>'
        link = f'<a {style} href="{address}">↗ {title}</a>'
        return [*text, nodes.raw("", frame + link, format="html")]


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("microscope", Microscope)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


if __name__ == "__main__":
    if find_spec("minidl.scope") is not None:
        EXPORTED.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "minidl", "scope", "--export", str(EXPORTED)]
        sys.exit(subprocess.run(command, check=False).returncode)
