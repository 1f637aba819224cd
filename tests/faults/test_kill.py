"""SIGKILL at random moments, again and again: nothing is lost, nothing is damaged."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults.amount import FULL, amount
from tests.faults.outcome import assert_same, newest_step, result
from tests.test_cli import call, paint

ROOT = Path(__file__).parents[2]
KILLS = amount(4, 200)
pytestmark = pytest.mark.skipif(
    not hasattr(signal, "SIGKILL"), reason="this system cannot kill a process without warning"
)


def start(out, *arguments):
    """The victim, which has begun to train."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.victim", str(out), *map(str, arguments)],
        cwd=ROOT, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    return child, child.stdout.readline() == "ready\n"


def end(child):
    """Its return code and what else it printed."""
    with child.stdout:
        text = child.stdout.read()
    return child.wait(timeout=120), text


def test_a_killed_run_goes_on_bit_for_bit(tmp_path, capsys, whole):
    expected, seconds = whole
    seed = amount(0, random.randrange(2**32))
    rng = random.Random(seed)
    kills = ended = 0
    out, step = tmp_path / "run-0", -1
    while kills < KILLS:
        by_clock = rng.random() < 0.5
        child, ready = start(out, *(() if by_clock else (rng.randint(1, 150),)))
        if by_clock and ready:
            time.sleep(rng.uniform(0, seconds / 2))
            child.send_signal(signal.SIGKILL)
        code, text = end(child)
        assert code in (0, -signal.SIGKILL), f"seed {seed}: the run failed by itself"
        kills += code != 0
        found = newest_step(out)
        assert found >= step, f"seed {seed}: checkpoint {step} is lost, the newest is {found}"
        step = found
        if "done" in text or kills == KILLS:
            child, _ = start(out)  # also a run that has ended can be resumed
            assert end(child) == (0, "done\n")
            assert_same(result(out), expected)
            assert not list((out / "checkpoint").glob(".*")), "a half-written file stays"
            ended += 1
            out, step = tmp_path / f"run-{ended}", -1
    with capsys.disabled():
        print(f"\n{kills} kills in {ended} runs (seed {seed}): every run ended bit-identically")


def test_the_command_killed_before_each_of_its_file_operations(tmp_path, capsys):
    """Every file operation of `minidl train` in its folder, one after the other."""
    pytest.importorskip("click", reason="click is not installed")
    images = paint(tmp_path / "images", count=5)
    options = ["--data", images, "--model", "deep_plain_cnn", "--depth", 2, "--width", 3]
    options += ["--epochs", 2, "--batch-size", 4, "--augment", "crop-flip", "--quiet", "--out"]
    call("train", *options, tmp_path / "whole")
    expected = result(tmp_path / "whole")
    kills = 0
    for event in range(6, 1000) if FULL else (6,):  # before, nothing is there
        out = tmp_path / f"run-{event}"
        victim = ["-m", "tests.faults.command_victim", event, "train", *options, out]
        done = subprocess.run(
            [sys.executable, *map(str, victim)], cwd=ROOT, capture_output=True, text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        kills += 1
        newest_step(out)
        call("train", *options, out, "--resume")
        assert_same(result(out), expected)
        assert not list(out.rglob(".*")), "a half-written file stays"
    with capsys.disabled():
        print(f"\nminidl train: {kills} kills, every run ended bit-identically")
