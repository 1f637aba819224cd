"""Two trainings into one folder, the second one begun at a random moment: it is always told."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from minidl.runs import Run
from tests.faults.amount import amount
from tests.faults.outcome import newest_step
from tests.test_cli import paint

ROOT = Path(__file__).parents[2]
PAIRS = amount(3, 20)
pytest.importorskip("click", reason="click is not installed")


def begin(images, *arguments, cwd):
    words = ["train", "--data", images, "--epochs", 6, "--batch-size", 4, "--quiet", *arguments]
    return subprocess.Popen(
        [sys.executable, "-m", "minidl", *map(str, words)],
        cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def test_of_two_trainings_into_one_folder_one_is_told_and_the_other_is_whole(tmp_path, capsys):
    images = paint(tmp_path / "images", count=12)
    seed = amount(0, random.randrange(2**32))
    rng = random.Random(seed)
    for pair in range(PAIRS):
        out = tmp_path / f"run-{pair}"
        first = begin(images, "--model", "mlp", "--out", out, cwd=tmp_path)
        time.sleep(rng.choice([0, rng.uniform(0, 1.5)]))
        second = begin(images, "--model", "vgg_small", "--size", 8, "--out", out, cwd=tmp_path)
        said = [child.communicate(timeout=120)[1] for child in (first, second)]
        codes = [child.returncode for child in (first, second)]
        assert sorted(codes) == [0, 2], f"seed {seed}: {codes}, {said}"
        told = said[codes.index(2)]
        assert "is running already" in told or "is not empty" in told, f"seed {seed}: {told}"
        assert newest_step(out) > 0
        run = Run.open(out)
        assert run.config.model == ("mlp", "vgg_small")[codes.index(0)]
        assert run.evaluate(progress=False)["accuracy"] >= 0
    with capsys.disabled():
        print(f"\n{PAIRS} pairs (seed {seed}): the second one was told, the first one is whole")


def test_trainings_without_a_folder_take_different_ones(tmp_path):
    images = paint(tmp_path / "images", count=6)
    children = [begin(images, "--model", "mlp", "--seed", s, cwd=tmp_path) for s in range(3)]
    for child in children:
        _, said = child.communicate(timeout=120)
        assert child.returncode == 0, said
    names = sorted(os.listdir(tmp_path / "runs"))
    assert names == ["images-mlp", "images-mlp-2", "images-mlp-3"]
    seeds = {Run.open(tmp_path / "runs" / name).config.seed for name in names}
    assert seeds == {0, 1, 2}
