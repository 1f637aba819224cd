"""Processes that are killed or asked to end while several train together: `make test-mpi`."""

import contextlib
import json
import os
import random
import signal
import time

import pytest

from tests.faults.outcome import assert_same, newest_step, result
from tests.train.mpi_launch import PROGRAM, finish, launch, left_over, workers

pytestmark = pytest.mark.mpi

FAULT = {"dtype": "float32", "trainer": {"deterministic": True}, "epochs": 4}
FAULT |= {"fit": {"into_folder": True, "checkpoint_every": 1, "resume": True}}


def faulty(n, out, **case):
    return launch(n, [*PROGRAM, json.dumps(FAULT | case), out])


def test_killed_processes_leave_no_orphans_and_the_run_goes_on_with_any_number(tmp_path):
    """SIGKILL to one process at a random moment, 20 times; resumed with 1, 2 or 4."""
    whole = tmp_path / "whole"
    code, out, err = finish(faulty(1, whole))
    assert code == 0, out + err
    expected, seed = result(whole), random.randrange(2**32)
    rng, kills, runs = random.Random(seed), 0, 0
    folder, step = tmp_path / "run-0", -1
    while kills < 20:
        n = rng.choice((2, 4))
        child = faulty(n, folder, hook="wait 0 0", seed=1 if step < 0 else 99)
        assert child.stdout.readline() == "ready\n"
        time.sleep(rng.uniform(0, 1.0))
        victims = workers(child)
        if not victims:  # it had ended by itself: the same bytes, and another run to kill
            code, out, err = finish(child)
            assert code == 0, out + err
            assert_same(result(folder), expected)
            runs += 1
            folder, step = tmp_path / f"run-{runs}", -1
            continue
        with contextlib.suppress(ProcessLookupError):  # it may end in this moment
            os.kill(rng.choice(victims), signal.SIGKILL)
        begun = time.monotonic()
        code, out, err = finish(child)
        assert time.monotonic() - begun < 5
        assert not left_over(child), f"seed {seed}: a process is left"
        kills += code != 0
        assert newest_step(folder) >= step, f"seed {seed}: a checkpoint is lost"
        step = newest_step(folder)
        if step >= 12 or kills == 20:
            code, out, err = finish(faulty(rng.choice((1, 2, 4)), folder, seed=99))
            assert code == 0, out + err
            assert_same(result(folder), expected)
            runs += 1
            folder, step = tmp_path / f"run-{runs}", -1
    assert kills == 20


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("to", ["launcher", "one process"])
def test_a_signal_saves_once_and_the_run_goes_on(tmp_path, number, to):
    child = faulty(2, tmp_path / "run", hook="wait 0 0", epochs=40)
    assert child.stdout.readline() == "ready\n"
    time.sleep(0.5)
    os.kill(child.pid if to == "launcher" else workers(child)[-1], number)
    code, out, err = finish(child)
    assert code == 128 + number, err
    assert err.count("stopped at step") == 1, err
    assert not left_over(child)
    stopped_at = newest_step(tmp_path / "run")
    code, out, err = finish(faulty(1, tmp_path / "run", epochs=stopped_at // 4 + 1))
    assert code == 0, out + err
    code, out, err = finish(faulty(4, tmp_path / "whole", epochs=stopped_at // 4 + 1))
    assert code == 0, out + err
    assert_same(result(tmp_path / "run"), result(tmp_path / "whole"))
