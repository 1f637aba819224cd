"""A NaN or infinity is laid at the door of the layer that made it, not of one that passed it on."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl as md
from minidl.errors import GradientError
from minidl.graph import record
from minidl.tensor import Tensor
from minidl.train.nonfinite import NotFiniteError


def block(width):
    return md.nn.Sequential(md.nn.Conv2d(width, width, 3, padding=1), md.nn.BatchNorm2d(width))


def models():
    return {
        "plain": md.nn.Sequential(
            *(md.nn.Conv2d(1, 4, 3), md.nn.ReLU(), md.nn.MaxPool2d(2), md.nn.Dropout(0.1)),
            *(md.nn.Flatten(), md.nn.Dense(36, 8), md.nn.Tanh(), md.nn.Dense(8, 3)),
        ),
        "residual": md.nn.Sequential(
            *(md.nn.Conv2d(1, 4, 3, padding=1), md.nn.ReLU(), md.nn.Residual(block(4))),
            *(md.nn.AvgPool2d(2), md.nn.GELU(), md.nn.GlobalAvgPool2d(), md.nn.Dense(4, 3)),
        ),
    }


def plant(layer, phase, value, where):
    """Make the layer's forward, or its pullback, put `value` into one image of its result."""
    forward = layer.forward

    def spoiled(array):
        array = array.copy()
        # The whole image: a ReLU or a dropout may hide a single number.
        array[where % len(array)] = value
        return array

    def bad(x):
        y = forward(x)
        if phase == "forward":
            return record(spoiled(y.data), (y, lambda g, _: g), name="planted")
        return record(y.data, (y, lambda g, _: Tensor(spoiled(g.data))), name="planted")

    layer.forward = bad


def message(model, seed=0):
    rng = np.random.default_rng(seed)
    data = md.data.Dataset(
        rng.standard_normal((12, 1, 8, 8)).astype(np.float32), rng.integers(0, 3, 12)
    )
    optimizer = md.optim.SGD(model.parameters(), 0.01)
    trainer = md.Trainer(model, loss=md.ops.cross_entropy, optimizer=optimizer, seed=seed)
    with pytest.raises(GradientError) as error:
        trainer.fit(data, epochs=1, batch_size=6, progress=False)
    return str(error.value)


@given(
    kind=st.sampled_from(["plain", "residual"]),
    which=st.integers(0, 100),
    phase=st.sampled_from(["forward", "backward"]),
    where=st.integers(0, 10_000),
)
def test_a_planted_nan_is_attributed_to_its_layer(kind, which, phase, where):
    md.manual_seed(0)
    model = models()[kind]
    leaves = [(n, m) for n, m in model.named_modules() if not any(m._members(md.nn.Module))]
    name, layer = leaves[which % len(leaves)]
    plant(layer, phase, np.nan, where)
    said = message(model)
    assert f"the {phase} pass of 'planted' in layer '{name}' ({type(layer).__name__})" in said
    assert " NaN and 0 Inf" in said and "step 0" in said


# Tanh(inf) is 1 and relu(-inf) is 0: an infinity that meets them does no harm and stops nothing.
@pytest.mark.parametrize(
    ("phase", "layer", "value"),
    [("forward", 0, np.inf), ("forward", 7, -np.inf), ("backward", 2, np.inf)],
)
def test_a_planted_infinity_is_attributed_to_its_layer(phase, layer, value):
    md.manual_seed(0)
    model = models()["plain"]
    plant(model.layers[layer], phase, value, 0)
    said = message(model)
    assert f"the {phase} pass of 'planted' in layer '{layer}'" in said
    assert "made 0 NaN and " in said


@given(st.sampled_from(["0", "5", "7"]), st.sampled_from(["weight", "bias"]))
def test_a_parameter_that_is_not_finite_is_named(name, which):
    model = models()["plain"]
    getattr(model.layers[int(name)], which).data[0] = np.nan
    size = getattr(model.layers[int(name)], which).size
    said = message(model)
    assert (
        f"got NaN or infinity in {name}.{which} (" in said and f"of {size:,}), at the start" in said
    )


def test_the_last_checkpoint_is_kept(tmp_path):
    model = models()["plain"]
    rng = np.random.default_rng(0)
    data = md.data.Dataset(
        rng.standard_normal((24, 1, 8, 8)).astype(np.float32), rng.integers(0, 3, 24)
    )
    optimizer = md.optim.SGD(model.parameters(), 0.01)
    trainer = md.Trainer(model, loss=md.ops.cross_entropy, optimizer=optimizer, seed=0)
    trainer.fit(data, epochs=1, batch_size=6, progress=False, out=tmp_path)
    kept = {p: p.read_bytes() for p in (tmp_path / "checkpoint").rglob("*") if p.is_file()}
    plant(model.layers[7], "forward", np.nan, 0)
    with pytest.raises(GradientError, match="layer '7'"):
        trainer.fit(data, epochs=2, batch_size=6, progress=False, out=tmp_path, resume=True)
    assert all(path.read_bytes() == content for path, content in kept.items())


@pytest.mark.host
def test_a_batch_that_is_not_finite_is_named_itself():
    images, labels = np.random.default_rng(0).random((6, 1, 4, 4), np.float32), np.arange(6) % 2
    model = md.nn.Sequential(md.nn.Flatten(), md.nn.Dense(16, 2))

    def spoil(batch):
        batch = batch.copy()
        batch[0, 0, 0, 0] = np.nan
        return batch

    trainer = md.Trainer(model, optimizer=md.optim.SGD(model.parameters(), 0.1), seed=0)
    with pytest.raises(NotFiniteError, match="the inputs of this batch hold 1 NaN and 0 Inf"):
        trainer.fit((images, labels), epochs=1, batch_size=3, transform=spoil, progress=False)
    model = md.nn.Sequential(md.nn.Flatten(), md.nn.Dense(16, 1))
    optimizer = md.optim.SGD(model.parameters(), 0.1)
    trainer = md.Trainer(model, loss=md.ops.mse_loss, optimizer=optimizer, seed=0)
    data = images, np.full((6, 1), 1e300)
    with pytest.raises(NotFiniteError, match=r"targets .* 0 NaN and 3 Inf.* float32"):
        trainer.fit(data, epochs=1, batch_size=3, progress=False)
