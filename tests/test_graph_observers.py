"""What the record tells others: names of operations, and observers of every array made."""

import numpy as np
import pytest

import minidl as md
from minidl import graph
from minidl.errors import ShapeError
from tests.device import fetch


def leaf(*values, dtype="float64"):
    return md.tensor(list(values), dtype=dtype, requires_grad=True)


def test_nodes_are_named_after_the_operation():
    x = leaf(0.5, 0.25)
    for name in ("exp", "relu", "softmax", "logsumexp"):
        assert getattr(md.ops, name)(x).node.name == name
    assert graph.record(x.data, (x, lambda g, y: g), name="mine").node.name == "mine"
    orders = [(x + 1.0).node.order for _ in range(3)]
    assert orders == sorted(set(orders))


def test_integers_and_bools_are_never_recorded():
    x = leaf(1.0)
    assert not x.astype(int).requires_grad
    assert not (x > 0).requires_grad


def test_an_observer_sees_operations_and_pullbacks():
    seen = []
    x = leaf(1.0, 2.0)
    with graph.observe(lambda *event: seen.append(event)):
        with graph.running("layer 1"):
            y = (x * 3.0).sum()
        y.backward()
    x.sum()
    kinds = [(kind, name, layer) for kind, name, layer, _, _ in seen]
    assert kinds == [
        ("forward", "multiply", "layer 1"),
        ("forward", "sum", "layer 1"),
        ("backward", "sum", "layer 1"),
        ("backward", "multiply", "layer 1"),
    ]
    values = [fetch(value).tolist() for _, _, _, value, _ in seen]
    assert values == [[3.0, 6.0], 9.0, [1.0, 1.0], [3.0, 3.0]]
    assert [len(sources) for *_, sources in seen] == [2, 1, 1, 1]


def test_an_observer_sees_gradients_added_up():
    seen = []
    x = leaf(1.0, 2.0)
    with graph.running("layer 1"):
        h = x * 3.0
        y = (h + h * x + x).sum()
    with graph.observe(lambda *event: seen.append(event[:3] + (len(event[4]),))):
        y.backward()
    # h is used twice, in the layer that made it; x three times, and no operation made it.
    layers = [event[2] for event in seen if event[1:2] + event[3:] == ("sum of gradients", 2)]
    assert sorted(layers, key=str) == [None, None, "layer 1"]


def test_an_observer_sees_what_is_not_recorded_too():
    seen = []
    with graph.observe(lambda *event: seen.append(event[1])), md.no_grad():
        md.tensor([1.0]).exp()
    assert seen == ["exp"]


def test_a_pullback_of_the_wrong_shape_is_refused():
    def flipped(x):
        return graph.record(x.data * 2, (x, lambda g, y: g.reshape(3, 2)), name="flipped")

    x = md.tensor(np.ones((2, 3)), requires_grad=True)
    words = r"'flipped' gave shape \(3, 2\) for an input of shape \(2, 3\)"
    with pytest.raises(ShapeError, match=words):
        flipped(x).backward(np.ones((2, 3)))
