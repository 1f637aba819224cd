"""Pooling's CUDA kernels, run on the CPU, against the loops of the reference."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from minidl import kernels
from minidl.errors import ShapeError
from minidl.kernels import reference
from minidl.kernels.gpu import launch
from tests import standin
from tests.standin.kernels import COMPILER

from ..cases import close, rearranged

pytestmark = [
    pytest.mark.host,
    pytest.mark.skipif(COMPILER is None, reason="no g++ to compile the kernels with"),
]
examples = settings(max_examples=30)
# Size, stride and dilation. There is a compilation for each, so they are few.
WINDOWS = [
    ((2, 2), (2, 2), (1, 1)),
    ((3, 2), (2, 1), (1, 2)),
    ((2, 3), (1, 3), (3, 1)),
    ((1, 2), (3, 3), (1, 1)),
]


@st.composite
def poolings(draw):
    """A window, images x with some special value, and a gradient g; in every memory order."""
    size, stride, dilation = draw(st.sampled_from(WINDOWS))
    image = draw(st.tuples(st.integers(1, 8), st.integers(1, 8)))
    padding = draw(st.sampled_from([0, 1, 2, (0, 3), "same"]))
    try:
        window = kernels.window("test", image, size, stride, padding, dilation)
    except ShapeError:
        assume(False)
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    dtype, planes = draw(st.sampled_from("fd")), draw(st.sampled_from([(1, 1), (2, 3)]))
    x = random.integers(-2, 3, (*planes, *image)).astype(dtype)  # with many ties
    g = random.normal(size=(*planes, *window.out)).astype(dtype)
    value = draw(st.sampled_from([0, np.nan, np.inf, -np.inf]))
    for array in (x, g):
        array[tuple(random.integers(array.shape))] = value
    if draw(st.integers(0, 4)) == 0:
        x[...] = -np.inf  # as the padding, which must not be chosen
    return window, rearranged(random, x), rearranged(random, g)


@pytest.fixture(params=[False, True], ids=["32 bits", "64 bits"])
def bits(request, monkeypatch):
    """How wide an index is."""
    if request.param:
        monkeypatch.setattr(launch, "LARGE", 0)


def own_launches():
    """The kernels that ran, without copies into another memory order."""
    return [name for name in standin.counter.launched if name.startswith(("max", "avg"))]


@examples
@given(case=poolings())
def test_maximum(gpu, bits, case):
    window, x, g = case
    standin.counter.clear()
    y, index = kernels.max_pool(gpu(x), window)
    right, first = reference.max_pool(x, window)
    np.testing.assert_array_equal(y.get(), right)
    np.testing.assert_array_equal(index.get(), first)
    dx = kernels.max_unpool(gpu(g), index, window)
    close(dx.get(), reference.max_unpool(g, first, window))
    taken = kernels.max_take(gpu(x), index, window)
    np.testing.assert_array_equal(taken.get(), reference.max_take(x, first, window))
    assert own_launches() == ["max_pool", "max_unpool", "max_take"]


@examples
@given(case=poolings())
def test_maximum_with_relu(gpu, bits, case):
    window, x, g = case
    standin.counter.clear()
    y, index = kernels.max_pool(gpu(x), window, rectify=True)
    right, first = reference.max_pool(x, window)
    off = ~(right > 0)
    np.testing.assert_array_equal(y.get(), np.maximum(right, 0))
    np.testing.assert_array_equal(index.get(), np.where(off, kernels.NO_TAP, first))
    dx = kernels.max_unpool(gpu(g), index, window)
    close(dx.get(), reference.max_unpool(np.where(off, g.dtype.type(0), g), first, window))
    assert own_launches() == ["max_pool", "max_unpool"]


@examples
@given(case=poolings())
def test_mean(gpu, bits, case):
    window, x, g = case
    standin.counter.clear()
    with np.errstate(invalid="ignore"):  # inf - inf
        close(kernels.avg_pool(gpu(x), window).get(), reference.avg_pool(x, window))
        close(kernels.avg_unpool(gpu(g), window).get(), reference.avg_unpool(g, window))
    assert own_launches() == ["avg_pool", "avg_unpool"]


def test_where_relu_gave_0_nothing_is_read_nor_spread(gpu):
    window = kernels.window("max_pool2d", (400, 4), 2, 2)
    index = np.zeros((1, 1, 200, 2), np.uint8)
    index[0, 0, :2] = [0, kernels.NO_TAP], [3, 1]
    x = np.arange(1600.0).reshape(1, 1, 400, 4)
    taken = kernels.max_take(gpu(x), gpu(index), window).get()
    assert taken[0, 0, :2].tolist() == [[0, 0], [13, 11]]
    dx = kernels.max_unpool(gpu(np.full(index.shape, np.inf)), gpu(index), window).get()
    assert np.argwhere(dx[0, 0, :4]).tolist() == [[0, 0], [2, 3], [3, 1]]


def test_a_window_of_256_taps_still_has_an_index_of_one_byte(gpu):
    x = np.random.default_rng(0).normal(size=(2, 1, 16, 32))
    x[0, 0, 15, 15] = 9
    window = kernels.window("max_pool2d", (16, 32), 16, 16)
    y, index = kernels.max_pool(gpu(x), window)
    right, first = reference.max_pool(x, window)
    assert index.get()[0, 0, 0, 0] == 255
    np.testing.assert_array_equal(index.get(), first)
    np.testing.assert_array_equal(kernels.max_take(gpu(x), index, window).get(), right)
    close(kernels.max_unpool(y, index, window).get(), reference.max_unpool(right, first, window))


def test_larger_windows_run_in_array_code(gpu):
    x = np.random.default_rng(0).normal(size=(1, 2, 1, 300))
    window = kernels.window("max_pool2d", (1, 300), (1, 300))
    y, index = kernels.max_pool(gpu(x), window)
    assert index.dtype == np.int64
    np.testing.assert_array_equal(kernels.max_take(gpu(x), index, window).get(), y.get())
    standin.counter.clear()
    close(kernels.avg_pool(gpu(x), window).get(), reference.avg_pool(x, window))
    assert own_launches() == ["avg_pool"]
