"""The directive {microscope}: one recorded step of a network, to be walked through in the page.

    ```{microscope} --depth 8
    What to look at.
    ```

Its argument is given to `minidl scope --export`. The exported page is shown in a frame, and the
text stands above it. It reaches the site as a file of its own, under microscope/.
"""

import hashlib
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
KEPT = ROOT / "build" / "book" / "microscope"  # one export for both languages


class Microscope(SphinxDirective):
    has_content = True
    optional_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        if find_spec("minidl.scope") is None or self.env.app.builder.format != "html":
            return self.parse_content_to_nodes()
        options = self.arguments[0].split() if self.arguments else []
        name = hashlib.sha256(" ".join(options).encode()).hexdigest()[:12] + ".html"
        kept = KEPT / name
        if not kept.exists():
            KEPT.mkdir(parents=True, exist_ok=True)
            command = [sys.executable, "-m", "minidl", "scope", "--export", str(kept), *options]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                LOG.warning("microscope: %s", done.stderr.strip(), location=self.get_location())
                return []
        target = Path(self.env.app.outdir) / "microscope" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(kept.read_bytes())
        address = "../" * self.env.docname.count("/") + f"microscope/{name}"
        frame = (
            f'<iframe class="microscope" src="{address}" loading="lazy" '
            f'title="the microscope"></iframe>'
        )
        return [*self.parse_content_to_nodes(), nodes.raw("", frame, format="html")]


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("microscope", Microscope)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
