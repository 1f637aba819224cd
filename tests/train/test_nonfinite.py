"""A NaN or infinity is laid at the door of the layer that made it, not of one that passed it on."""

import pickle

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


def culprit_of(layer, compute):
    model = md.nn.Sequential(layer, md.nn.Dense(3, 2))
    x = md.tensor(np.ones((4, 3)))
    return md.health.find_culprit(model, lambda: compute(model(x)))


def cross_entropy(logits):
    return md.ops.cross_entropy(logits, np.zeros(len(logits), np.int64))


class Of(md.nn.Module):
    """A layer without parameters, so that no gradient is recorded for its operations."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


@pytest.mark.parametrize("operation", ["log", "reciprocal"])
def test_an_operation_that_needs_no_gradient_is_found_too(operation):
    found = culprit_of(Of(lambda x: getattr(md.ops, operation)(x - 1)), cross_entropy)
    assert (found.phase, found.operation, found.layer) == ("forward", operation, "'0' (Of)")
    assert found.shape == (4, 3) and found.infinities == 12 and found.cure == "argument"


@pytest.mark.parametrize("operation", ["exp", "expm1", "sinh", "cosh"])
def test_a_result_beyond_the_range_is_no_fault_of_the_code(operation):
    found = culprit_of(Of(lambda x: getattr(md.ops, operation)(1000 * x)), cross_entropy)
    assert (found.operation, found.cure) == (operation, "argument")
    assert "finite for some arguments only" in str(found)


def test_a_constant_that_is_not_finite_is_told_from_an_operation():
    constant = md.tensor([0.0, np.nan, 0.0])
    found = culprit_of(Of(lambda x: x + constant), cross_entropy)
    assert (found.phase, found.operation, found.layer) == ("forward", "add", "'0' (Of)")
    assert "no operation and no parameter made that one" in str(found)
    assert "from finite values" not in str(found)


def test_a_value_that_a_mask_hides_is_not_blamed_but_its_gradient_is():
    weight = md.tensor([0.0, 1.0], requires_grad=True)

    def loss():
        return md.ops.where(np.array([False, True]), md.ops.log(weight), 0.0).sum()

    with np.errstate(divide="ignore"):
        assert np.isfinite(loss().numpy())
    found = md.health.find_culprit(md.nn.Sequential(), loss)
    assert (found.phase, found.operation) == ("backward", "log")
    assert weight.grad is None


def test_of_two_sources_the_one_behind_the_loss_is_named():
    def compute(logits):
        md.ops.log(logits * 0)  # -inf, but nothing reads it
        return cross_entropy(logits / 0)

    found = culprit_of(Of(lambda x: x), compute)
    assert (found.operation, found.layer) == ("divide", "none: outside the model (the loss)")


def test_a_hook_that_makes_a_nan_is_told_from_the_operation_that_met_it():
    def compute(logits):
        logits.register_hook(lambda g: g * np.nan)
        return cross_entropy(logits)

    found = culprit_of(Of(lambda x: x), compute)
    assert found.phase == "backward" and "a hook did" in found.cause


def test_without_a_nan_nobody_is_blamed_and_no_gradient_changes():
    model = md.nn.Dense(3, 2)
    x = md.tensor(np.ones((4, 3)))
    assert md.health.find_culprit(model, lambda: cross_entropy(model(x))) is None
    assert model.weight.grad is None
    with pytest.raises(md.errors.ConfigError, match="expected compute to return a Tensor, got 3"):
        md.health.find_culprit(model, lambda: 3)


def test_the_error_of_a_training_has_the_culprit():
    md.manual_seed(0)
    model = models()["plain"]
    plant(model.layers[5], "forward", np.nan, 0)
    images = np.random.default_rng(0).standard_normal((6, 1, 8, 8), np.float32)
    trainer = md.Trainer(model, optimizer=md.optim.SGD(model.parameters(), 0.1), seed=0)
    with pytest.raises(NotFiniteError) as error:
        trainer.fit((images, np.arange(6) % 3), epochs=1, batch_size=6, progress=False)
    assert (error.value.culprit.operation, error.value.culprit.layer) == ("planted", "'5' (Dense)")


def test_a_gradient_that_a_mask_stops_is_not_blamed():
    layer = md.nn.Dense(1, 1)
    layer.weight, layer.bias = [[1.0]], [0.0]
    x = md.tensor([[-1.0], [4.0]])

    def stopped():
        return md.ops.sqrt(md.ops.relu(layer(x))).sum()  # at 0 the slope of sqrt is infinite

    assert md.health.find_culprit(layer, stopped) is None
    weight = md.tensor([0.0, 0.0], requires_grad=True)
    found = md.health.find_culprit(layer, lambda: stopped() + md.ops.power(weight, 0.5).sum())
    assert (found.phase, found.operation, found.shape) == ("backward", "power", (2,))


@pytest.mark.parametrize(("dtype", "largest"), [("float16", 20.0), ("float32", 1e10)])
def test_an_edge_is_told_from_an_overflow(dtype, largest):
    x = md.tensor([0.0, largest], dtype=dtype, requires_grad=True)
    found = md.health.find_culprit(md.nn.Sequential(), lambda: md.ops.log(x).sum())
    assert (found.operation, found.cure) == ("log", "argument")
    steep = md.tensor([1.0, 1e10], requires_grad=True)
    found = md.health.find_culprit(md.nn.Sequential(), lambda: md.ops.exp(steep).sum())
    assert (found.operation, found.cure) == ("exp", "rate")


def test_the_search_leaves_running_means_alone():
    model = md.nn.Sequential(md.nn.Conv2d(1, 1, 1), md.nn.BatchNorm2d(1))
    before = {n: md.device.to_host(a).copy() for n, a in model.state_dict().items()}
    x = md.tensor(np.full((1, 1, 2, 2), np.inf))
    assert md.health.find_culprit(model, lambda: model(x).sum()) is not None
    for name, values in model.state_dict().items():
        assert np.array_equal(md.device.to_host(values), before[name])


def test_the_error_can_be_sent_to_other_processes():
    with np.errstate(all="ignore"):
        found = culprit_of(Of(lambda x: md.ops.log(x - 1)), cross_entropy)
    error = pickle.loads(pickle.dumps(NotFiniteError("fit: the loss is nan", "rate", 0.5, found)))
    assert "smaller learning rate (it is 0.5)" in str(error) and error.culprit == found
