"""Several workers, and workers that are killed: nothing is lost, nothing is trained twice."""

import collections
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest

from minidl.search import go_on, join, open_search
from minidl.search.trial import folder_of
from minidl.search.worker import MOST_TRIES, PLACE, TRIES, Worker
from minidl.train.lock import locked
from tests.faults.amount import FULL, amount
from tests.search.conftest import drawn

ROOT = Path(__file__).parents[2]
KILLS = amount(4, 20)
needs_kill = pytest.mark.skipif(
    not hasattr(signal, "SIGKILL"), reason="this system cannot kill a process without warning"
)


def start(out, *arguments, module="minidl.search"):
    """A worker of the search in a process of its own."""
    command = [sys.executable, "-m", module, str(out), *map(str, arguments or ("", "", ""))]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)


def end(child):
    """Its return code and its errors."""
    with child.stderr:
        said = child.stderr.read()
    return child.wait(timeout=300), said


def check_journal(out):
    """No trial ended twice, and none told an epoch twice."""
    ended, told = collections.Counter(), collections.Counter()
    for line in (out / "journal.log").read_text().splitlines():
        entry = json.loads(line)
        if "state" in entry and entry["op_code"] == 6:
            ended[entry["trial_id"]] += 1
        if "intermediate_value" in entry:
            told[entry["trial_id"], entry["step"]] += 1
    assert ended and max(ended.values()) == 1
    assert not told or max(told.values()) == 1


def finished(search):
    """What is known of the trials that have ended."""
    return [row for row in drawn(search) if row[1] != "running"]


@needs_kill
def test_killed_workers_lose_nothing(small, tmp_path, capsys):
    seed = amount(0, random.randrange(2**32))
    rng, out, trials = random.Random(seed), tmp_path / "s", 12 if not FULL else 800
    search = open_search(out, small | {"trials": trials})
    known, kills, workers = [], 0, []
    while kills < KILLS and len(known) < trials:
        while len(workers) < 2:
            workers.append(start(out))
        time.sleep(rng.uniform(0.5, 2.5))
        victim = rng.choice(workers)
        kills += victim.poll() is None
        victim.kill()
        end(victim)
        workers.remove(victim)
        now = finished(search)
        assert all(row in now for row in known), f"seed {seed}: a trial that had ended is lost"
        known = now
    for worker in workers:
        end(worker)
    assert end(start(out)) == (0, "")
    rows = drawn(search)
    assert all(row in rows for row in known)
    assert [row[0] for row in rows] == list(range(trials))
    assert not [row for row in rows if row[1] == "running"]
    check_journal(out)
    for row in search.summary.rows:
        steps = folder_of(out, row.number) / "history.csv"
        if steps.exists():
            numbers = [int(line.split(",")[0]) for line in steps.read_text().splitlines()[1:]]
            assert numbers == list(range(len(numbers)))
    with capsys.disabled():
        print(f"\n{kills} workers killed (seed {seed}): {len(rows)} trials, none lost")


@needs_kill
@pytest.mark.parametrize("events", (7, 60) if not FULL else range(3, 241, 7))
def test_a_single_worker_draws_what_it_would_have_drawn(small, done, tmp_path, events):
    """Killed at a file operation, and again at another one, then let alone."""
    out = tmp_path / "s"
    open_search(out, small | {"audit": 1.0})
    code = 1
    for times in range(1, 4):
        code, said = end(start(out, events * times, module="tests.search.victim"))
        assert code in (0, -signal.SIGKILL), said
        if code == 0:
            break
    assert end(start(out))[0] == 0
    assert drawn(join(out)) == drawn(done)
    check_journal(out)


def test_workers_share_a_search(small, tmp_path):
    search = open_search(tmp_path / "s", small | {"trials": 10})
    go_on(search, workers=3, progress=False)
    assert len(search.summary.rows) == 10
    assert "running" not in search.summary.counts
    check_journal(search.out)


def test_two_workers_never_hold_one_trial(small, tmp_path):
    search = open_search(tmp_path / "s", small)
    with locked(folder_of(search.out, 0)):
        trial = search.study.ask()  # another process's: it holds the folder
        assert trial.number == 0
        code, said = end(start(search.out))
        assert (code, said) == (0, "")
        rows = search.summary.rows
        assert [row.number for row in rows if row.outcome == "running"] == [0]
        assert len(rows) == small["trials"]
    assert end(start(search.out))[0] == 0
    assert "running" not in search.summary.counts


def test_a_trial_of_another_machine_is_left_alone(small, tmp_path):
    options, url = small | {"trials": 2}, f"sqlite:///{tmp_path}/shared.db"
    search = open_search(tmp_path / "s", options, storage=url)
    search.study.ask().set_user_attr(PLACE, "elsewhere:/folder")
    Worker(search.settings, search.study, search.out).run()
    assert [row.outcome == "running" for row in search.summary.rows] == [True, False]


def test_a_trial_that_kills_its_process_is_given_up(small, tmp_path):
    search = open_search(tmp_path / "s", small | {"trials": 2})
    search.study.ask().set_user_attr(TRIES, MOST_TRIES)
    Worker(search.settings, search.study, search.out).run()
    first, second = search.summary.rows
    assert first.outcome == "failed" and f"killed {MOST_TRIES} times" in first.reason
    assert second.outcome not in ("failed", "running")


def test_workers_that_all_fail_say_why(small, tmp_path, monkeypatch):
    from minidl.errors import CheckpointError

    search = open_search(tmp_path / "s", small)
    (search.out / "journal.log").write_bytes(b"damaged\n")
    with pytest.raises(CheckpointError, match=r"none of the 2 workers came to the end: .*damaged"):
        go_on(search, workers=2, progress=False)


def test_a_trial_that_has_ended_meanwhile_is_not_trained(small, tmp_path, monkeypatch):
    search = open_search(tmp_path / "s", small | {"trials": 1})
    trial = search.study.ask()
    stale = search.study.get_trials()
    search.study.tell(trial, 0.5)
    worker = Worker(search.settings, search.study, search.out)
    looks = iter([stale])
    real = search.study.get_trials
    monkeypatch.setattr(
        search.study, "get_trials", lambda **options: next(looks, None) or real(**options)
    )
    worker.run()
    assert not (search.out / "trials").exists() or not list((search.out / "trials").iterdir())
    assert search.study.trials[0].state == optuna.trial.TrialState.COMPLETE
