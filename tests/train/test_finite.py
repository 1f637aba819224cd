"""Numbers that are not finite: a good file is never lost to them, and they are not read unseen."""

import numpy as np
import pytest

import minidl as md
from minidl import nn
from minidl.errors import CheckpointError, GradientError
from minidl.train import Checkpoints, History
from minidl.train.arrays_file import write_arrays
from tests.device import fetch


def model(value=None):
    made = nn.Sequential(nn.Dense(3, 2), nn.BatchNorm2d(2))
    if value is not None:
        made[0].weight.data[0, 1] = value
    return made


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_saving_refuses_and_leaves_the_file(tmp_path, value):
    path = tmp_path / "w.safetensors"
    md.save(path, model())
    before = path.read_bytes()
    with pytest.raises(CheckpointError, match=r"in 0\.weight \(1 of 6\); .* was not touched"):
        md.save(path, model(value))
    assert path.read_bytes() == before
    md.save(path, model(value), finite=False)
    with pytest.raises(CheckpointError, match=r"expected finite weights in .*0\.weight \(1 of 6\)"):
        md.load(path, model())
    assert not np.isfinite(md.load(path, model(), finite=False)[0].weight.numpy()).all()


def test_buffers_count_too(tmp_path):
    bad = model()
    bad[1].running_mean.data[0] = np.nan
    with pytest.raises(CheckpointError, match="running_mean"):
        md.save(tmp_path / "w", bad)


def test_numbers_beyond_the_models_dtype_are_refused(tmp_path):
    state = {n: np.asarray(fetch(a), np.float64) for n, a in model().state_dict().items()}
    state["0.bias"] = state["0.bias"] + 1e200
    write_arrays(tmp_path / "w", state)
    into = model()
    before = into[0].bias.numpy().copy()
    with pytest.raises(CheckpointError, match=r"0\.bias \(2 of 2\)"):
        md.load(tmp_path / "w", into)
    np.testing.assert_array_equal(into[0].bias.numpy(), before)


@pytest.mark.parametrize("out", [True, False])
def test_an_update_that_overflows_at_the_end_of_an_epoch_is_told(tmp_path, small, out):
    class Spoil:
        def after_update(self, trainer, step):
            if step == 11:  # the last step of the second epoch
                trainer.parameters[0].data[0] = np.inf

    with pytest.raises(GradientError, match=r"the update of step 11 overflowed.*learning rate"):
        small.run(small.trainer([Spoil()]), tmp_path if out else None)
    if out:
        assert Checkpoints(tmp_path / "checkpoint").paths()[0].name == "step-00000010.safetensors"
        md.load(tmp_path / "model.safetensors", small.model())
        assert len(History.from_csv(tmp_path / "history.csv")) == 12
