"""SIGTERM at random moments: the run can be resumed bit for bit, and the cursor is shown again."""

import os
import random
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults.amount import amount
from tests.faults.outcome import assert_same, newest_step, result
from tests.test_cli import call, paint

pty = pytest.importorskip("pty", reason="this system has no terminals of this kind")
pytest.importorskip("click", reason="click is not installed")
ROOT = Path(__file__).parents[2]
TIMES = amount(3, 30)
HIDDEN, SHOWN = b"\x1b[?25l", b"\x1b[?25h"


def on_a_terminal(arguments, seconds):
    """(exit code, all that the terminal got) of a command that got SIGTERM after the seconds."""
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", "minidl", *map(str, arguments)],
        cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "TERM": "xterm"},
    )  # fmt: skip
    os.close(theirs)
    shown, begun, sent = b"", time.monotonic(), None
    while True:
        if sent is None and b"epoch 1/" in shown:
            sent = time.monotonic() + seconds
        if sent is not None and time.monotonic() > sent:
            child.terminate()
            sent = float("inf")
        try:
            if select.select([ours], [], [], 0.01)[0]:
                shown += os.read(ours, 65536)
            elif child.poll() is not None:
                break
        except OSError:  # Linux tells so that the other side is closed
            break
        assert time.monotonic() - begun < 120, shown
    os.close(ours)
    return child.wait(60), shown


def test_a_terminated_run_goes_on_bit_for_bit_and_shows_the_cursor(tmp_path, capsys):
    images = paint(tmp_path / "images", count=40)
    options = ["--data", images, "--model", "deep_plain_cnn", "--depth", 3, "--width", 4]
    options += ["--epochs", 30, "--batch-size", 4, "--augment", "crop-flip", "--out"]
    begun = time.monotonic()
    call("train", *options, tmp_path / "whole", "--quiet")
    expected, whole = result(tmp_path / "whole"), time.monotonic() - begun
    seed = amount(0, random.randrange(2**32))
    rng = random.Random(seed)
    codes = []
    for time_ in range(TIMES):
        out = tmp_path / f"run-{time_}"
        code, shown = on_a_terminal(["train", *options, out], rng.uniform(0, whole))
        codes.append(code)
        assert code in (0, 128 + signal.SIGTERM, -signal.SIGTERM), f"seed {seed}: {shown}"
        assert shown.rfind(HIDDEN) <= shown.rfind(SHOWN), f"seed {seed}: the cursor is hidden"
        assert newest_step(out) >= 0
        if b"stopped at step" in shown:
            assert b"--resume" in shown
        call("train", *options, out, "--resume", "--quiet")
        assert_same(result(out), expected)
    assert 128 + signal.SIGTERM in codes, f"seed {seed}: {codes}"
    with capsys.disabled():
        print(f"\n{TIMES} times SIGTERM (seed {seed}): every run ended bit-identically; {codes}")
