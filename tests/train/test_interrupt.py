"""Signals: the training ends after a step, saves, and says how to go on."""

import os
import signal
import threading

import numpy as np
import pytest

from minidl.train import Checkpoints, History
from minidl.train.interrupt import Stopped, interrupted
from minidl.train.session import Session

SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]
pytestmark = pytest.mark.skipif(os.name != "posix", reason="other systems send no such signals")


class Send:
    def __init__(self, number, step=8):
        self.number, self.step = number, step

    def before_update(self, trainer, step):
        if step == self.step:
            os.kill(os.getpid(), self.number)


@pytest.mark.parametrize("number", SIGNALS)
def test_every_signal_that_ends_a_program_saves_and_says_how_to_go_on(tmp_path, small, number):
    whole = small.trainer()
    expected = small.run(whole)
    with pytest.raises(KeyboardInterrupt, match=r"step 9 .*resume=True") as stop:
        before = signal.signal(number, signal.default_int_handler)
        try:
            small.run(small.trainer([Send(number)]), tmp_path)
        finally:
            assert signal.signal(number, before) is signal.default_int_handler
    assert stop.value.number == number
    assert Checkpoints(tmp_path / "checkpoint").paths()[0].name == "step-00000009.safetensors"
    again = small.trainer(init_seed=99)
    history = small.run(again, tmp_path, resume=True)
    np.testing.assert_array_equal(history.steps["loss"], expected.steps["loss"])


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_that_is_ignored_stays_ignored(tmp_path, small, number):
    before = signal.signal(number, signal.SIG_IGN)
    try:
        history = small.run(small.trainer([Send(number)]), tmp_path)
        assert signal.getsignal(number) == signal.SIG_IGN
    finally:
        signal.signal(number, before)
    assert len(history) == 18


def test_the_second_signal_ends_at_once():
    with interrupted() as request:
        os.kill(os.getpid(), signal.SIGINT)
        assert request.number == signal.SIGINT
        with pytest.raises(Stopped, match="at once"):
            os.kill(os.getpid(), signal.SIGINT)


def test_outside_the_main_thread_nothing_is_touched():
    seen = []
    thread = threading.Thread(
        target=lambda: seen.append((interrupted().__enter__(), signal.getsignal(signal.SIGINT)))
    )
    before = signal.getsignal(signal.SIGINT)
    thread.start()
    thread.join()
    assert seen[0][0].number is None and seen[0][1] is before


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    "place",
    ["Session.check_weights", "History.add_epoch", "Session.keep_best", "Session.next_epoch",
     "Session.save", "Session.close"],
)  # fmt: skip
def test_a_second_signal_at_the_end_of_an_epoch_leaves_a_run_that_goes_on(
    tmp_path, small, monkeypatch, place, when
):
    """The epoch's row was in the checkpoint, and the resumed run wrote it a second time."""
    options = {"patience": 5, "checkpoint_every": None}
    expected = small.trainer()
    small.run(expected, tmp_path / "whole", **options)
    owner, name = {"Session": Session, "History": History}[place.split(".")[0]], place.split(".")[1]
    original, armed = getattr(owner, name), []

    def stopped(self, *arguments, **named):
        if when == "before" and armed:
            armed.clear()
            raise Stopped("stopped at once")
        result = original(self, *arguments, **named)
        if armed:
            armed.clear()
            raise Stopped("stopped at once")
        return result

    class Arm:
        def after_update(self, trainer, step):
            if step == 11:  # the last of the second epoch
                armed.append(True)

    monkeypatch.setattr(owner, name, stopped)
    with pytest.raises(Stopped, match=r"checkpoint of step (6|12)"):
        small.run(small.trainer([Arm()]), tmp_path / "cut", **options)
    again = small.trainer(init_seed=99)
    history = small.run(again, tmp_path / "cut", resume=True, **options)
    assert history.epochs["epoch"].tolist() == [1, 2, 3]
    for ours, theirs in zip(again.model.parameters(), expected.model.parameters(), strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
    read = [History.from_csv(tmp_path / run / "history.csv") for run in ("cut", "whole")]
    for one, other in zip(*(r.to_arrays().values() for r in read), strict=True):
        np.testing.assert_array_equal(one[:, :-1], other[:, :-1])  # the last column is seconds
