"""One training at a time fills a folder."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from minidl.errors import CheckpointError
from minidl.train.lock import locked

HOLD = """
import sys
from minidl.train.lock import locked
with locked(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(folder):
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout.readline().strip() == b"held"
    return child


def test_another_process_is_told_until_the_first_one_ends(tmp_path):
    for end in ("communicate", "kill"):
        child = holder(tmp_path / "run")
        with pytest.raises(CheckpointError, match="running already"), locked(tmp_path / "run"):
            pass
        getattr(child, end)()
        child.wait(30)
        child.stdout.close()
        child.stdin.close()
        with locked(tmp_path / "run"):
            pass


def test_another_thread_is_told_and_the_same_one_may_enter_again(tmp_path):
    told = []

    def other():
        try:
            with locked(tmp_path / "run"):
                pass
        except CheckpointError as error:
            told.append(str(error))

    with locked(tmp_path / "run"), locked(tmp_path / "run" / ".." / "run"):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert len(told) == 1 and "running already" in told[0]


def test_an_empty_folder_is_removed_and_a_filled_one_stays(tmp_path):
    with locked(tmp_path / "empty"):
        assert (tmp_path / "empty").is_dir()
    with locked(tmp_path / "filled"):
        (tmp_path / "filled" / "file").write_text("")
    assert os.listdir(tmp_path) == ["filled"]


@pytest.mark.parametrize("name", ["x" * 300, "a\0b", "file", "file/below"])
def test_a_folder_that_cannot_be_is_named(tmp_path, name):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot write to"), locked(f"{tmp_path}/{name}"):
        pass


def test_a_training_into_a_folder_that_is_being_filled_does_not_begin(tmp_path, small):
    child = holder(tmp_path / "run")
    trainer = small.trainer()
    before = [p.numpy().copy() for p in trainer.parameters]
    with pytest.raises(CheckpointError, match="running already"):
        small.run(trainer, tmp_path / "run", resume=True)
    for p, old in zip(trainer.parameters, before, strict=True):
        np.testing.assert_array_equal(p.numpy(), old)
    child.communicate()
