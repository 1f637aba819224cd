"""Each demo runs on its own, in an empty folder, and its own assertions hold."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

DEMOS = Path(__file__).parents[1] / "demos"
FIGURES = {
    "clipping": ["clipping.png"],
    "depth_and_width": ["depth_and_width.png"],
    "doctor_your_model": ["doctor-before.png", "doctor-after.png"],
    "explode": ["explode.png"],
    "initialization": ["initialization.png"],
}


@pytest.mark.parametrize("name", FIGURES)
def test_a_demo_tells_its_story(name, tmp_path):
    done = subprocess.run(
        [sys.executable, str(DEMOS / f"{name}.py")],
        cwd=tmp_path,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1].count("Figure")
    for figure in FIGURES[name]:
        assert (tmp_path / "runs" / "demos" / figure).stat().st_size > 10_000


@pytest.mark.parametrize("path", sorted(DEMOS.glob("*.py")), ids=lambda p: p.stem)
def test_a_demo_is_short_and_says_how_to_run_it(path):
    text = path.read_text(encoding="utf-8")
    assert f"demos/{path.name}" in text
    assert len(text.splitlines()) <= 130
