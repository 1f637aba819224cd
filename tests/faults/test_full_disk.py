"""A disk that fills up during a save: the error says so, and what was there stays whole."""

import contextlib
import os
import subprocess

import numpy as np
import pytest

from minidl import runs
from minidl.errors import CheckpointError
from minidl.files import append_text, write_bytes
from minidl.runs import Config
from minidl.train import Checkpoints
from minidl.train.arrays_file import read_arrays
from tests.faults.amount import amount
from tests.faults.outcome import assert_same, newest_step, result
from tests.faults.victim import OPTIONS
from tests.train.conftest import make_trainer, run


@pytest.fixture
def disk(tmp_path):
    """A small disk in memory: disk(kilobytes) makes it; later, it changes size and mode."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = False

    def size(kilobytes, mode="rw"):
        nonlocal mounted
        options = f"{'remount,' if mounted else ''}size={kilobytes}k,{mode}"
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", place]
        try:
            done = subprocess.run(command, capture_output=True, text=True)
        except FileNotFoundError:
            pytest.skip("this system has no mount command")
        if done.returncode:
            pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
        mounted = True
        return place

    yield size
    if mounted:
        subprocess.run(["umount", place], check=True)


@pytest.mark.parametrize("kilobytes", range(16, 200, amount(60, 4)))
def test_a_run_on_a_small_disk(disk, whole, kilobytes):
    out = disk(kilobytes) / "run"
    failed = False
    try:
        run(make_trainer(), out, **OPTIONS)
    except CheckpointError as error:
        failed = True
        assert "No space left on device; free some space" in str(error)
    step = newest_step(out)
    assert not failed or step < 24
    disk(4000)
    run(make_trainer(init_seed=99 if step >= 0 else 1), out, resume=True, **OPTIONS)
    assert_same(result(out), whole[0])


def test_the_disk_fills_up_while_the_newest_is_written(disk):
    place = disk(100)
    checkpoints = Checkpoints(place / "checkpoint")
    arrays = {"x": np.arange(5000.0)}  # 40 kB: two fit, the third does not
    for step in (1, 2):
        checkpoints.write(step, arrays, {"step": step})
    with pytest.raises(CheckpointError, match=r"step-00000003.*No space left on device"):
        checkpoints.write(3, arrays, {"step": 3})
    assert sorted(os.listdir(place / "checkpoint")) == [
        f"step-0000000{step}.safetensors" for step in (1, 2)
    ]
    found, state, warnings = checkpoints.newest()
    assert state == {"step": 2} and not warnings and (found["x"] == arrays["x"]).all()


def test_a_full_disk_is_reported_before_training(disk):
    pytest.importorskip("sklearn", reason="scikit-learn holds the digits")
    place = disk(500)
    with pytest.raises(CheckpointError, match=r"the disk has .* free; free some space"):
        runs.train(Config(model="mlp"), place / "run", progress=False)
    assert not (place / "run" / "checkpoint").exists()


def test_a_read_only_folder_is_reported_before_training(disk):
    place = disk(4000)
    run(make_trainer(), place / "run", **OPTIONS)
    (place / "run" / ".model.safetensors-x.part").write_bytes(b"half")
    disk(4000, "ro")
    with pytest.raises(CheckpointError, match=r"cannot write to .*: Read-only file system"):
        runs.train(Config(), place / "new", progress=False)
    trainer = make_trainer()
    with pytest.raises(CheckpointError, match=r"cannot write .*: Read-only file system"):
        run(trainer, place / "run", resume=True, **OPTIONS | {"epochs": 9})
    assert not trainer.loss_value >= 0  # no step was made


@contextlib.contextmanager
def largest_file(size):
    resource = pytest.importorskip("resource", reason="this system limits no file's size")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_write_that_stops_half_way(tmp_path):
    write_bytes(tmp_path / "f", b"old")
    append_text(tmp_path / "log", "a\n")
    with largest_file(1000):
        with pytest.raises(CheckpointError, match="File too large"):
            write_bytes(tmp_path / "f", bytes(5000))
        with pytest.raises(CheckpointError, match="File too large"):
            append_text(tmp_path / "log", "b" * 5000)
    assert (tmp_path / "f").read_bytes() == b"old"
    assert sorted(os.listdir(tmp_path)) == ["f", "log"]
    assert not list(tmp_path.glob(".*"))
    with pytest.raises(CheckpointError):
        read_arrays(tmp_path / "f")
