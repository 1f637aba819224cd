"""Each demo runs on its own, in an empty folder, and its own assertions hold."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

DEMOS = Path(__file__).parents[1] / "demos"
FIGURES = {
    "clipping": ["runs/demos/clipping.png"],
    "depth_and_width": ["runs/demos/depth_and_width.png"],
    "doctor_picture": ["docs/figures/doctor.png"],
    "doctor_your_model": ["runs/demos/doctor-before.png", "runs/demos/doctor-after.png"],
    "explode": ["runs/demos/explode.png"],
    "initialization": ["runs/demos/initialization.png"],
    "search": ["runs/demos/search.png"],
    "train_digits": ["runs/demo/descent.png"],
}


def test_every_demo_is_run():
    assert set(FIGURES) == {path.stem for path in DEMOS.glob("*.py")}


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
        assert (tmp_path / figure).stat().st_size > 10_000


@pytest.mark.parametrize("path", sorted(DEMOS.glob("*.py")), ids=lambda p: p.stem)
def test_a_demo_says_how_to_run_it_shows_its_network_and_asserts_its_result(path):
    """Its length and its imports are held by test_house.py."""
    text = path.read_text(encoding="utf-8")
    assert f"python demos/{path.name}" in text
    tree = list(ast.walk(ast.parse(text)))
    used = {ast.unparse(node) for node in tree if isinstance(node, ast.Attribute)}
    assert "md.nn.Dense" in used and not any(name.startswith("md.models") for name in used)
    assert any(isinstance(node, ast.Assert) for node in tree)
