"""The gallery: every demo run once (`python -m tools.book.demos`), its output and figures shown.

The directive {demo} `explode` shows one: what it says of itself, its figures, and, folded up, what
it printed and its text.
"""

import ast
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from .cells import ROOT

LOG = logging.getLogger(__name__)
DEMOS = ROOT / "demos"
RUN = ROOT / "build" / "book" / "demos"
PRINTED = "printed.txt"


def run(name: str) -> str:
    """Run a demo in a folder of its own, and keep what it printed. Raises: RuntimeError."""
    folder = RUN / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    done = subprocess.run(
        [sys.executable, str(DEMOS / f"{name}.py")],
        cwd=folder,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "COLUMNS": "100"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"demos/{name}.py failed:\n{done.stderr}")
    (folder / PRINTED).write_text(done.stdout, encoding="utf-8")
    return f"demos/{name}.py"


def names() -> list[str]:
    """The demos."""
    return sorted(path.stem for path in DEMOS.glob("*.py"))


class Demo(SphinxDirective):
    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        name = self.arguments[0]
        text = (DEMOS / f"{name}.py").read_text(encoding="utf-8")
        title = (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]
        shown: list[nodes.Node] = [nodes.paragraph("", "", nodes.emphasis(title, title))]
        shown[0]["translatable"] = False
        printed = RUN / name / PRINTED
        if not printed.exists():
            if self.env.app.builder.name != "gettext":
                LOG.warning(
                    "{demo} %s has not run: python -m tools.book.demos",
                    name,
                    location=self.get_location(),
                )
            return shown
        for figure in sorted((RUN / name).rglob("*.png")):
            kept = Path(self.env.app.outdir) / "gallery" / f"{name}-{figure.name}"
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(figure, kept)
            up = "../" * self.env.docname.count("/")
            picture = f'<img class="demo" alt="{title}" src="{up}gallery/{kept.name}">'
            shown.append(nodes.raw("", picture, format="html"))
        zh = self.config.language == "zh_CN"
        for summary, content, language in (
            ("输出" if zh else "What it printed", printed.read_text(encoding="utf-8"), "text"),
            (f"demos/{name}.py", text, "python"),
        ):
            opened = nodes.raw("", f"<details><summary>{summary}</summary>", format="html")
            code = nodes.literal_block(content, content, language=language)
            code["translatable"] = False
            shown += [opened, code, nodes.raw("", "</details>", format="html")]
        return shown


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("demo", Demo)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


if __name__ == "__main__":
    shutil.rmtree(RUN, ignore_errors=True)
    with ThreadPoolExecutor(2) as pool:
        try:
            for line in pool.map(run, names()):
                print(line, flush=True)
        except RuntimeError as error:
            pool.shutdown(cancel_futures=True)
            sys.exit(f"error: {error}")
