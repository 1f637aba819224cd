import os
import shutil
import signal

import numpy as np
import pytest

import minidl as md
from minidl import optim
from minidl.errors import CheckpointError, ConfigError
from minidl.train import Checkpoints, History
from tests.device import fetch


class Crash(Exception):
    pass


def same_run(trainer, history, other, other_history):
    for (name, a), b in zip(
        trainer.model.state_dict().items(), other.model.state_dict().values(), strict=True
    ):
        np.testing.assert_array_equal(fetch(a), fetch(b), err_msg=name)
    for kind in ("steps", "epochs"):
        left, right = getattr(history, kind), getattr(other_history, kind)
        assert list(left) == list(right)
        for name in left:
            if name != "seconds":
                np.testing.assert_array_equal(left[name], right[name], err_msg=name)


# 41 images in batches of 8: six steps in an epoch, so 6 and 12 lie between epochs.
@pytest.mark.parametrize("step", [0, 3, 5, 6, 11, 12, 17])
@pytest.mark.parametrize("hook", ["before_update", "after_update"])
def test_a_crash_changes_nothing(tmp_path, small, stop_at, step, hook):
    whole = small.trainer()
    expected = small.run(whole)
    with pytest.raises(Crash):
        small.run(small.trainer([stop_at(hook, step, Crash())]), tmp_path)
    again = small.trainer(init_seed=99)
    history = small.run(again, tmp_path, resume=True)
    same_run(whole, expected, again, history)
    same_run(whole, expected, again, History.from_csv(tmp_path / "history.csv"))
    loaded = small.trainer(init_seed=5)
    md.train.load(tmp_path / "model.safetensors", loaded.model)
    same_run(whole, expected, loaded, history)


@pytest.mark.parametrize("name", ["SGD", "RMSProp", "AdamW"])
def test_every_optimizer_goes_on(tmp_path, small, stop_at, name):
    options = {"optimizer": getattr(optim, name)}
    if name == "SGD":
        options["optimizer"] = lambda p, lr: optim.SGD(p, lr, momentum=0.9, nesterov=True)
    whole = small.trainer(**options)
    expected = small.run(whole)
    with pytest.raises(Crash):
        small.run(small.trainer([stop_at("before_update", 9, Crash())], **options), tmp_path)
    again = small.trainer(init_seed=99, **options)
    same_run(whole, expected, again, small.run(again, tmp_path, resume=True))


def test_without_a_seed_the_order_comes_from_the_checkpoint(tmp_path, small, stop_at):
    whole = small.trainer(seed=None)
    expected = small.run(whole)
    with pytest.raises(Crash):
        small.run(small.trainer([stop_at("before_update", 8, Crash())], seed=None), tmp_path)
    again = small.trainer(seed=None, init_seed=99)
    same_run(whole, expected, again, small.run(again, tmp_path, resume=True))


def test_ctrl_c_ends_a_step_and_goes_on(tmp_path, small):
    class CtrlC:
        def before_update(self, trainer, step):
            if step == 8:
                os.kill(os.getpid(), signal.SIGINT)

    whole = small.trainer()
    expected = small.run(whole)
    before = signal.getsignal(signal.SIGINT)
    stopped = small.trainer([CtrlC()])
    with pytest.raises(KeyboardInterrupt, match=r"stopped at step 9 .*resume=True"):
        small.run(stopped, tmp_path)
    assert signal.getsignal(signal.SIGINT) is before
    assert Checkpoints(tmp_path / "checkpoint").paths()[0].name == "step-00000009.safetensors"
    assert len(stopped.history) == len(History.from_csv(tmp_path / "history.csv")) == 9
    again = small.trainer(init_seed=99)
    same_run(whole, expected, again, small.run(again, tmp_path, resume=True))


def test_an_interrupt_inside_a_step_keeps_the_last_checkpoint(tmp_path, small, stop_at):
    inside = small.trainer([stop_at("before_update", 9, KeyboardInterrupt())])
    with pytest.raises(KeyboardInterrupt, match="checkpoint of step 8"):
        small.run(inside, tmp_path)
    with pytest.raises(KeyboardInterrupt, match="nothing was written"):
        small.run(small.trainer([stop_at("after_update", 9, KeyboardInterrupt())]))


def test_more_epochs_go_on_from_the_end(tmp_path, small):
    whole = small.trainer()
    expected = small.run(whole)
    small.run(small.trainer(), tmp_path, epochs=2)
    again = small.trainer(init_seed=99)
    same_run(whole, expected, again, small.run(again, tmp_path, resume=True))
    done = small.trainer(init_seed=98)
    same_run(whole, expected, done, small.run(done, tmp_path, resume=True))


def test_resume_starts_where_there_is_nothing(tmp_path, small):
    whole, fresh = small.trainer(), small.trainer()
    expected = small.run(whole)
    same_run(whole, expected, fresh, small.run(fresh, tmp_path / "new", resume=True))


def test_a_damaged_newest_checkpoint_is_named_and_passed_over(tmp_path, small):
    whole = small.trainer()
    expected = small.run(whole)
    small.run(small.trainer(), tmp_path, epochs=2)
    newest = Checkpoints(tmp_path / "checkpoint").paths()[0]
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 4
    newest.write_bytes(content)
    again = small.trainer(init_seed=99)
    with pytest.warns(UserWarning, match="step-00000012.*going on from an earlier one"):
        history = small.run(again, tmp_path, resume=True)
    same_run(whole, expected, again, history)
    for path in Checkpoints(tmp_path / "checkpoint").paths():
        path.write_bytes(b"")
    with pytest.raises(CheckpointError, match="no checkpoint can be read"):
        small.run(small.trainer(), tmp_path, resume=True)


def test_another_run_is_not_continued(tmp_path, small):
    small.run(small.trainer(), tmp_path, epochs=1)
    with pytest.raises(CheckpointError, match="batch size: was 8, is 16"):
        small.run(small.trainer(), tmp_path, resume=True, batch_size=16)
    with pytest.raises(CheckpointError, match="seed: was 7, is 8"):
        small.run(small.trainer(seed=8), tmp_path, resume=True)
    with pytest.raises(CheckpointError, match="optimizer: was Adam, is SGD"):
        small.run(small.trainer(optimizer=optim.SGD), tmp_path, resume=True)
    with pytest.raises(CheckpointError, match="columns"):
        trainer = small.trainer()
        trainer.fit(small.data(), epochs=2, batch_size=8, out=tmp_path, resume=True)
    with pytest.raises(CheckpointError, match="holds a run already"):
        small.run(small.trainer(), tmp_path)
    with pytest.raises(ConfigError, match="needs out"):
        small.run(small.trainer(), resume=True)


def test_an_unwritable_folder_is_found_before_training(tmp_path, small):
    (tmp_path / "file").write_text("")
    trainer = small.trainer()
    with pytest.raises(CheckpointError, match="cannot write"):
        small.run(trainer, tmp_path / "file")
    assert len(trainer.history) == 0


def test_a_disk_that_fills_up_leaves_the_last_checkpoint(tmp_path, small, monkeypatch):
    whole = small.trainer()
    expected = small.run(whole)
    real = os.fsync

    class Full:
        def before_update(self, trainer, step):
            if step == 7:
                monkeypatch.setattr(os, "fsync", full)

    def full(handle):
        raise OSError(28, "No space left on device")

    with pytest.raises(CheckpointError, match="No space left"):
        small.run(small.trainer([Full()]), tmp_path)
    monkeypatch.setattr(os, "fsync", real)
    shutil.copytree(tmp_path, tmp_path.parent / "copy")  # a run folder can be moved
    again = small.trainer(init_seed=99)
    history = small.run(again, tmp_path.parent / "copy", resume=True)
    same_run(whole, expected, again, history)
