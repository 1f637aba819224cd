"""How long a graph lives: freed by a pass, kept on request, gone without a garbage collector."""

import gc
import weakref

import numpy as np
import pytest

import minidl as md
from minidl import graph
from minidl.errors import GradientError
from minidl.tensor import as_tensor
from tests.ops.cases import CASES


def leaf(*values, dtype="float64"):
    return md.tensor(list(values), dtype=dtype, requires_grad=True)


def test_a_graph_is_freed_by_the_first_pass():
    x = leaf(2.0)
    y = x * x
    y.backward()
    with pytest.raises(
        GradientError, match=r"'multiply' .*freed by an earlier .*retain_graph=True"
    ):
        y.backward()
    assert x.grad.item() == 4.0


def test_retain_and_create_graph_keep_it():
    for keep in ({"retain_graph": True}, {"create_graph": True}):
        x = leaf(2.0)
        y = x * x
        y.backward(**keep)
        y.backward()
        assert x.grad.item() == 8.0


def test_create_graph_makes_gradients_that_can_be_differentiated():
    x = leaf(2.0)
    (x * x * x).backward(create_graph=True)
    first = x.grad
    assert first.item() == 12.0
    x.grad = None
    first.backward()
    assert x.grad.item() == 12.0
    x.grad = None
    (x * x).backward()
    assert not x.grad.requires_grad


def test_create_graph_adds_to_a_gradient_that_is_there():
    x = leaf(2.0)
    (x * x).backward(create_graph=True)
    (x * x * x).backward(create_graph=True)
    total = x.grad
    assert total.item() == 16.0
    x.grad = None
    total.backward()
    assert x.grad.item() == 14.0  # 2 + 6x


def test_memory_goes_without_the_garbage_collector():
    gc.collect()
    gc.disable()
    try:
        x = leaf(*range(1, 5))
        middle = x * 2.0
        watched = [weakref.ref(middle)]
        y = md.ops.softmax(middle.sqrt()).log().sum()
        watched.append(weakref.ref(y))
        del middle
        y.backward()
        del y
        assert [w() for w in watched] == [None, None]
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_the_sweep_frees_as_it_goes():
    x, gone = leaf(1.0), []
    old = graph.record(x.data, (x, lambda g, y: gone.append(watched() is None) or g))
    young = x * 2.0
    watched = weakref.ref(young)
    late = old * 1.0 + young * 1.0
    del young
    late.backward()
    assert gone == [True]


@pytest.mark.parametrize("name", md.ops.__all__)
def test_no_operation_makes_a_reference_cycle(name):
    def once():
        arrays, kwargs = CASES[name].draw(np.random.default_rng(0))
        xs = [md.tensor(a, dtype=a.dtype, requires_grad=a.dtype.kind == "f") for a in arrays]
        y = CASES[name].function(name, kwargs)(*xs)
        y.backward(np.ones(y.shape))
        floats = [i for i, x in enumerate(xs) if x.requires_grad]

        def total(*given):
            args = list(arrays)
            for i, t in zip(floats, given, strict=True):
                args[i] = t
            return CASES[name].function(name, kwargs)(*args).sum()

        given = [arrays[i] for i in floats]
        md.jvp(total, tuple(given), tuple(given))
        return weakref.ref(y)

    once()
    gc.collect()
    gc.disable()
    try:
        watched = once()
        assert watched() is None
        assert gc.collect() == 0
    finally:
        gc.enable()


def through(x, pullback):
    """x² as an operation with a pullback of the test's own, which gives 2x in one way or other."""
    return graph.record(x.data**2, (x, pullback)).sum()


@pytest.mark.host
def test_a_gradient_made_for_one_leaf_alone_is_not_copied():
    x, made = leaf(1.0, 2.0, 3.0), []

    def whole(g, y):
        array = 2 * x.data
        made.append(array.__array_interface__["data"][0])
        return md.Tensor(array)

    def view(g, y):
        array = (2 * x.data)[None].T
        made.append(array.__array_interface__["data"][0])
        return md.Tensor(array[:, 0])

    for pullback in (whole, view):
        x.grad = None
        through(x, pullback).backward()
        assert x.grad.data.__array_interface__["data"][0] == made.pop()
        np.testing.assert_array_equal(x.grad.numpy(), [2, 4, 6])


@pytest.mark.host
def test_a_gradient_that_somebody_else_holds_is_copied():
    x = leaf(1.0, 2.0, 3.0)
    large = np.stack([x.data, 2 * x.data])
    fixed = 2 * x.data
    fixed.flags.writeable = False
    held = {
        "an array": 2 * x.data,
        "a view": (2 * x.data)[:],
        "a tensor": md.Tensor(2 * x.data),
        "rows of a larger one": large[1],
        "what must not be written": fixed,
        "bytes": np.frombuffer(bytearray((2 * x.data).tobytes())),
    }
    for name, kept in held.items():
        x.grad = None
        through(x, lambda g, y, kept=kept: as_tensor(kept)).backward()
        np.testing.assert_array_equal(x.grad.numpy(), [2, 4, 6], err_msg=name)
        array = as_tensor(kept).data
        assert not np.shares_memory(x.grad.data, array), name
        assert x.grad.data.flags.writeable, name
    x.grad = None
    through(x, lambda g, y: md.Tensor(np.stack([2 * x.data, x.data])[0])).backward()
    assert x.grad.data.base is None  # not a part that keeps the whole alive


def test_leaves_and_callers_share_no_gradient():
    a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    given = md.Tensor(a._module.ones(2))
    for cotangent in (given, given.data):
        a.grad = b.grad = None
        (a + b).backward(cotangent)
        for grad in (a.grad, b.grad):
            grad.data *= 3.0
        assert a.grad.numpy().tolist() == b.grad.numpy().tolist() == [3, 3]
        assert given.numpy().tolist() == [1, 1]
        a.grad = None
        a.backward(cotangent)
        a.grad.data *= 3.0
        assert given.numpy().tolist() == [1, 1]
