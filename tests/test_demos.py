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
def test_a_demo_is_short_and_says_how_to_run_it(path):
    text = path.read_text(encoding="utf-8")
    assert f"python demos/{path.name}" in text
    assert len(text.splitlines()) <= 90


@pytest.mark.parametrize("path", sorted(DEMOS.glob("*.py")), ids=lambda p: p.stem)
def test_a_demo_shows_its_own_network_in_public_names(path):
    """Of minidl a demo imports `minidl as md` alone; its network is built from layers."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = [
        (node.module if isinstance(node, ast.ImportFrom) else alias.name, alias.asname)
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    ]
    assert ("minidl", "md") in imported
    assert not any(name.startswith("minidl.") for name, _ in imported)
    used = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert "md.nn.Dense" in used
    assert not any(name.startswith(("md.models", "md.lab")) for name in used)


@pytest.mark.parametrize("path", sorted(DEMOS.glob("*.py")), ids=lambda p: p.stem)
def test_a_demo_asserts_its_own_result(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert any(isinstance(node, ast.Assert) for node in ast.walk(tree))
