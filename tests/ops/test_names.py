"""Every operation appears under its own name: in the record, in messages, and to an observer."""

import numpy as np
import pytest

import minidl as md
from minidl.errors import ShapeError
from minidl.modes import observe
from minidl.tensor import Node
from tests.ops.cases import CASES


def called(name):
    """The operation on drawn inputs, of which the floating ones need a gradient."""
    rng = np.random.default_rng(0)
    arrays = [np.ones(1)]
    while any(a.size == 1 for a in arrays):  # the engine would sum a wrong gradient to size 1
        arrays, kwargs = CASES[name].draw(rng)
    xs = [md.tensor(a, dtype=a.dtype, requires_grad=a.dtype.kind == "f") for a in arrays]
    return CASES[name].function(name, kwargs)(*xs)


def nodes(y):
    """Every node on the way to y."""
    found, left = {}, [y]
    while left:
        t = left.pop()
        if t.node is not None and id(t.node) not in found:
            found[id(t.node)] = t.node
            left += [x for x, _ in t.node.inputs]
    return list(found.values())


@pytest.mark.parametrize("name", md.ops.__all__)
def test_the_record_names_the_operation(name):
    assert name in [node.name for node in nodes(called(name))]


@pytest.mark.parametrize("name", md.ops.__all__)
def test_an_observer_is_told_the_operation_forward_and_backward(name):
    seen = []
    with observe(lambda *event: seen.append(event[:2])):
        y = called(name)
        y.backward(np.ones(y.shape))
    assert ("forward", name) in seen and ("backward", name) in seen
    # A reader who steps through the record meets the operation, not steps inside it.
    around = {"reshape", "add", "sum of gradients"}  # a vector as a matrix; a bias; joined paths
    assert {seen_name for _, seen_name in seen} <= {name} | around


@pytest.mark.parametrize("name", md.ops.__all__)
def test_a_message_names_the_operation(name, monkeypatch):
    def wrong(g, y):
        return md.Tensor(np.ones((7, 11, 13), y.dtype))

    def broken(self, name, inputs, fast, y, make=Node.__init__):
        make(self, name, tuple((x, wrong) for x, _ in inputs), None, y)

    monkeypatch.setattr(Node, "__init__", broken)
    y = called(name)
    with pytest.raises(ShapeError, match=r"a pullback of '\w+' gave shape \(7, 11, 13\)") as raised:
        y.backward(np.ones(y.shape))
    assert f"'{y.node.name}'" in str(raised.value)
