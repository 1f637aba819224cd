"""The record of a step: nothing is left out, and nothing differs from an ordinary step."""

import numpy as np
import pytest

import minidl as md
from minidl.lab import cnn
from minidl.scope.record import record_step
from minidl.scope.settings import checked
from minidl.scope.subject import LabNetwork

SMALL = {"depth": 3, "width": 4}
BODIES = ("plain", "batch_norm", "residual", "weight_norm")


def lab(**settings):
    return LabNetwork().network(checked(SMALL | settings))


def pooled(width=4):
    """A network whose layers the engine would fuse: convolution, pooling and relu as one kernel."""
    md.manual_seed(3)
    return md.nn.Sequential(
        md.nn.Conv2d(1, width, 3, padding=1), md.nn.ReLU(), md.nn.MaxPool2d(2),
        md.nn.Flatten(), md.nn.Dense(width * 14 * 14, 10),
    )  # fmt: skip


def batch(n=8):
    x, labels = cnn.first_batch(cnn.HEALTHY, 0)
    return x[:n], labels[:n]


@pytest.mark.parametrize("body", BODIES)
def test_an_ordinary_step_gives_the_same_bits(body):
    network = lab(body=body)
    record = record_step(network.model, *network.first)
    recorded = {n: p.grad.numpy().copy() for n, p in network.model.named_parameters()}

    ordinary = lab(body=body).model
    x, labels = network.first
    logits = ordinary(md.tensor(x))
    loss = md.ops.cross_entropy(logits, labels)
    loss.backward()
    assert record.loss == loss.item()
    assert np.array_equal(record.logits, logits.numpy())
    for name, p in ordinary.named_parameters():
        assert np.array_equal(recorded[name], p.grad.numpy()), name
        assert np.array_equal(record.value(name).gradient, p.grad.numpy()), name


def test_nothing_is_fused_and_the_unfused_network_gives_the_same_bits():
    model = pooled()
    x, labels = batch()
    with md.no_grad():
        fused = []
        with md.graph.observe(lambda way, name, *rest: fused.append(name)):
            model(md.tensor(x))
    assert "conv2d + max_pool2d + relu" in fused  # the engine does fuse these layers

    record = record_step(model, x, labels)
    names = [operation.name for operation in record.operations]
    assert names == ["conv2d", "relu", "max_pool2d", "flatten", "linear", "cross_entropy"]

    y = md.tensor(x, requires_grad=True)
    made = []
    for layer in model.layers:  # one by one: nobody can fuse them
        y = layer(y)
        made.append(y.numpy())
    md.ops.cross_entropy(y, labels).backward()
    outputs = [record.values[operation.output].data for operation in record.operations]
    for mine, theirs in zip(outputs, made, strict=False):
        assert np.array_equal(mine, theirs)


@pytest.mark.parametrize("body", BODIES)
def test_every_operation_and_every_gradient_is_there_in_order(body):
    record = record_step(*_parts(lab(body=body)))
    made = {operation.output for operation in record.operations}
    seen = set()
    for operation in record.operations:  # forward: each input exists before it is used
        assert all(i in seen or i not in made for i in operation.inputs)
        seen.add(operation.output)
    needed = sum(sum(operation.needed) for operation in record.operations)
    assert needed == sum(pull.operation is not None for pull in record.pulls)
    order = [pull.operation for pull in record.pulls if pull.operation is not None]
    assert order == sorted(order, reverse=True)  # backward: the last operation first
    for number, value in enumerate(record.values):
        parts = [p.gradient for p in record.pulls if p.into == number and p.operation is not None]
        if parts:
            assert np.allclose(value.gradient, np.sum(parts, 0), rtol=1e-5, atol=1e-12)


def test_a_value_that_is_used_twice_has_its_parts_and_their_sum():
    record = record_step(*_parts(lab(body="residual", depth=5)))
    sums = [pull for pull in record.pulls if pull.operation is None]
    assert sums
    for pull in sums:
        assert np.array_equal(record.values[pull.into].gradient, pull.gradient)


@pytest.mark.parametrize("body", BODIES)
def test_gradients_agree_with_central_differences(body):
    """Directions in each parameter and in the images, in float64."""
    network = lab(body=body, activation="tanh", width=3)  # smooth: no kinks to step over
    model = network.model
    for t in model._state().values():
        if t.data.dtype.kind == "f":
            t.data = t.data.astype(np.float64)
    x, labels = network.first[0][:8].astype(np.float64), network.first[1][:8]
    record = record_step(model, x, labels)
    rng, step = np.random.default_rng(1), 1e-5

    def loss_at(change):
        with md.no_grad():
            change(+1)
            high = md.ops.cross_entropy(model(x), labels).item()
            change(-2)
            low = md.ops.cross_entropy(model(x), labels).item()
            change(+1)
        return (high - low) / (2 * step)

    targets = [(p.data, record.value(n).gradient) for n, p in model.named_parameters()]
    targets.append((x, record.value("images").gradient))
    for values, gradient in targets:
        way = rng.normal(size=values.shape)

        def change(times, values=values, way=way):
            values += times * step * way

        found = loss_at(change)
        assert found == pytest.approx(float((gradient * way).sum()), rel=1e-5, abs=1e-9)


def test_the_pullback_that_ran_is_found_in_its_source():
    record = record_step(*_parts(lab(body="weight_norm")))
    for operation in record.operations:
        for place in (*operation.formulas, *([operation.fast] if operation.fast else [])):
            assert place is not None, operation.name
            text = place.source.text[place.start : place.end]
            assert text.startswith(("lambda ", "def ")), text
            assert place.source.text.startswith("def "), place.source
    relu = next(o for o in record.operations if o.name == "relu")
    place = relu.formulas[0]
    assert "g" in place.source.text[place.start : place.end]
    convolution = next(o for o in record.operations if o.name == "conv2d")
    texts = [p.source.text[p.start : p.end] for p in convolution.formulas]
    assert texts[:2] == ["lambda g, y: self.by_input(g, w)", "lambda g, y: self.by_kernel(x, g)"]


def test_an_operation_of_a_users_own_is_shown_with_its_source():
    from minidl.tensor import record as record_operation

    def cube(x):
        return record_operation(x.data**3, (x, lambda g, y: g * 3 * x * x), name="cube")

    class Cube(md.nn.Module):
        def __init__(self):
            self.dense = md.nn.Dense(784, 10)

        def forward(self, x):
            return cube(self.dense(x.reshape(len(x), -1)))

    record = record_step(Cube(), *batch())
    mine = next(o for o in record.operations if o.name == "cube")
    place = mine.formulas[0]
    assert place.source.text[place.start : place.end] == "lambda g, y: g * 3 * x * x"
    assert place.source.text.startswith("def cube(x):")


def test_a_convolution_has_its_window_and_pooling_its_winners():
    x, labels = batch()
    record = record_step(pooled(), x, labels)
    convolution, _, pooling = record.operations[:3]
    assert convolution.window.size == (3, 3) and convolution.window.pads == (1, 1, 1, 1)
    inputs = record.values[pooling.inputs[0]].data
    blocks = inputs.reshape(8, 4, 14, 2, 14, 2).transpose(0, 1, 2, 4, 3, 5).reshape(8, 4, 14, 14, 4)
    assert np.array_equal(pooling.winners, blocks.argmax(-1))


def test_infinite_and_undefined_numbers_are_kept():
    network = lab()
    network.model.layers[2].weight.data *= np.float32(1e38)
    record = record_step(*_parts(network))
    assert not all(np.isfinite(v.data).all() for v in record.values)
    assert not all(np.isfinite(pull.gradient).all() for pull in record.pulls)


def _parts(network):
    return network.model, *network.first
