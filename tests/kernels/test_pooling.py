"""Pooling agrees with the reference, to the last tie."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl.kernels
from minidl.kernels import portable, reference
from minidl.kernels.cpu import conv_pool, pool, product
from tests import device

from .cases import cases, close

kernels, portable = device.Moved(minidl.kernels), device.Moved(portable)


@pytest.fixture(params=["dispatched", "portable", "small tiles"])
def path(request, monkeypatch):
    if request.param == "small tiles":
        monkeypatch.setattr(pool, "TILE", 50)
    return portable if request.param == "portable" else kernels


@given(cases(distinct=False))
def test_maximum_and_its_first_place(path, case):
    y, index = path.max_pool(case.x, case.window)
    right, first = reference.max_pool(case.x, case.window)
    np.testing.assert_array_equal(y, right)
    np.testing.assert_array_equal(index, first)
    assert y.dtype == case.x.dtype
    assert index.dtype == np.uint8
    g = case.pooled()
    close(path.max_unpool(g, index, case.window), reference.max_unpool(g, first, case.window))
    close(path.max_take(case.x, index, case.window), reference.max_take(case.x, first, case.window))


@given(cases(distinct=False))
def test_maximum_with_relu(path, case):
    """Where relu gives 0 there is no tap, and g goes nowhere."""
    x, window = case.x, case.window
    x[tuple(case.random.integers(x.shape))] = case.random.choice([np.nan, np.inf, -np.inf, 1])
    y, index = path.max_pool(x, window, True)
    right, first = reference.max_pool(x, window)
    off = ~(right > 0)
    np.testing.assert_array_equal(y, np.maximum(right, 0))
    np.testing.assert_array_equal(index, np.where(off, minidl.kernels.NO_TAP, first))
    g = case.pooled()
    kept = np.where(off, 0, g)
    close(path.max_unpool(g, index, window), reference.max_unpool(kept, first, window))
    taken = path.max_take(np.nan_to_num(x), index, window)
    wanted = np.where(off, 0, reference.max_take(np.nan_to_num(x), first, window))
    np.testing.assert_array_equal(taken, wanted)


@pytest.mark.parametrize("taps", [255, 256, 257])
def test_relu_needs_one_number_of_the_index(path, taps):
    window = kernels.window("max_pool2d", (1, 2 * taps), (1, taps), (1, taps))
    x = -np.ones((1, 1, 1, 2 * taps))
    x[..., taps - 1] = 7
    y, index = path.max_pool(x, window, True)
    assert y.tolist() == [[[[7, 0]]]]
    assert index.dtype == (np.uint8 if taps == 255 else np.int64)
    dx = path.max_unpool(np.full(y.shape, 5.0), index, window)
    assert np.argwhere(dx).tolist() == [[0, 0, 0, taps - 1]]
    assert path.max_take(x, index, window).tolist() == [[[[7, 0]]]]


@given(cases())
def test_average(path, case):
    close(path.avg_pool(case.x, case.window), reference.avg_pool(case.x, case.window))
    g = case.pooled()
    close(path.avg_unpool(g, case.window), reference.avg_unpool(g, case.window))


@given(cases(distinct=False))
def test_unpooling_is_the_transpose_of_taking_and_of_averaging(path, case):
    x, g = case.x.astype(np.float64), case.pooled().astype(np.float64)
    _, index = path.max_pool(x, case.window)
    for there, back in (
        (path.max_take(x, index, case.window), path.max_unpool(g, index, case.window)),
        (path.avg_pool(x, case.window), path.avg_unpool(g, case.window)),
    ):
        assert abs(np.vdot(there, g) - np.vdot(x, back)) <= 1e-12 * (np.abs(x).sum() + 1) * 10


@given(cases(distinct=False), st.lists(st.sampled_from([np.nan, np.inf, -np.inf]), min_size=1))
def test_nan_and_infinity_pass_and_are_not_invented(path, case, bad):
    window, x, g = case.window, case.x.copy(), case.pooled().copy()
    for value in bad:
        x[tuple(case.random.integers(x.shape))] = value
        g[tuple(case.random.integers(g.shape))] = value
    y, index = path.max_pool(x, window)
    right, first = reference.max_pool(x, window)
    np.testing.assert_array_equal(y, right)
    np.testing.assert_array_equal(index, first)
    with np.errstate(invalid="ignore"):
        pairs = (
            (path.max_unpool(g, index, window), reference.max_unpool(g, first, window)),
            (path.avg_pool(x, window), reference.avg_pool(x, window)),
            (path.avg_unpool(g, window), reference.avg_unpool(g, window)),
        )
    for found, expected in pairs:
        np.testing.assert_array_equal(np.isfinite(found), np.isfinite(expected))
        np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))


@given(cases(distinct=False))
def test_padding_is_never_the_maximum(path, case):
    """Where every pixel is -∞, as the padding is, the gradient goes to the first pixel."""
    window, x, g = case.window, np.full_like(case.x, -np.inf), case.pooled()
    y, index = path.max_pool(x, window)
    right, first = reference.max_pool(x, window)
    assert (y == -np.inf).all() and (right == -np.inf).all()
    np.testing.assert_array_equal(index, first)
    close(path.max_unpool(g, index, window), reference.max_unpool(g, first, window))


def test_a_gradient_reaches_images_of_minus_infinity(path):
    window = kernels.window("max_pool2d", (3, 3), 2, 2, 1)
    x, g = np.full((1, 1, 3, 3), -np.inf), np.array([[[[1.0, 2], [3, 4]]]])
    _, index = path.max_pool(x, window)
    assert index.tolist() == [[[[3, 2], [1, 0]]]]
    dx = path.max_unpool(g, index, window)
    assert dx.tolist() == [[[[1, 2, 0], [3, 4, 0], [0, 0, 0]]]]


def test_a_sum_that_overflows_is_no_reason_for_infinity():
    window = kernels.window("max_pool2d", (4, 4), 2, 2)
    x = np.full((1, 1, 4, 4), 3e38, np.float32)
    y, index = kernels.max_pool(x, window)
    assert (y == x[0, 0, 0, 0]).all()
    assert kernels.max_unpool(y, index, window).sum(dtype=np.float64) == y.sum(dtype=np.float64)


def test_pooled_images_flatten_without_a_copy():
    window = kernels.window("max_pool2d", (4, 4), 2, 2)
    y, _ = kernels.max_pool(np.zeros((5, 3, 4, 4), np.float32), window)
    assert np.shares_memory(y.reshape(5, -1), y)


@pytest.mark.parametrize("size", [(16, 16), (2, 128), (1, 257), (257, 1), (2, 129)])
def test_the_index_is_one_byte_up_to_256_taps(path, size):
    window = kernels.window("max_pool2d", size, size)
    x = np.zeros((1, 1, *size), np.float32)
    x[0, 0, -1, -1] = 1
    y, index = path.max_pool(x, window)
    assert index.item() == size[0] * size[1] - 1
    assert index.dtype == (np.uint8 if size[0] * size[1] <= 256 else np.int64)
    np.testing.assert_array_equal(path.max_unpool(y, index, window), x)


@pytest.mark.parametrize("shape", [(0, 2, 4, 4), (2, 0, 4, 4)])
def test_no_images(path, shape):
    window = kernels.window("max_pool2d", shape[2:], 2, 2)
    x = np.zeros(shape, np.float32)
    y, index = path.max_pool(x, window)
    assert y.shape == (*shape[:2], 2, 2)
    assert path.max_unpool(y, index, window).shape == shape
    assert path.max_take(x, index, window).shape == y.shape
    assert path.avg_pool(x, window).shape == y.shape
    assert path.avg_unpool(y, window).shape == shape


@pytest.fixture(params=[(1, 20), (1000, 100), (1 << 20, 500_000)])
def tile(request, monkeypatch):
    monkeypatch.setattr(conv_pool, "TILE", request.param[0])
    monkeypatch.setattr(product, "PIECE", request.param[1])
    monkeypatch.setattr(product, "SMALL", 8)


pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))


@pytest.mark.parametrize("rectify", [True, False])
@given(cases(max_groups=2, distinct=False), pairs, st.sampled_from([True, True, True, False]))
def test_convolution_and_pooling_in_one_are_the_two_in_turn(tile, rectify, case, size, apart):
    window, x, w, b, _, groups, random = case
    size = tuple(map(min, size, window.out))
    pool = kernels.window("max_pool2d", window.out, size, size if apart else 1)
    right, first = reference.max_pool(reference.conv_forward(x, w, b, window, groups), pool)
    if rectify:
        first[right <= 0], right = kernels.NO_TAP, np.maximum(right, 0)
    both = kernels.conv_pool(x, w, b, window, groups, pool, rectify)
    few = x.shape[1] * window.size[0] < kernels.choose.THIN
    if device.NAME == "cpu":
        assert (both is not None) == (pool.stride == pool.size and groups == 1 and few)
    y, index = both or (right, first)
    np.testing.assert_array_equal(y, right)  # whole numbers: sums are exact in any order
    np.testing.assert_array_equal(index, first)
    assert y.dtype == x.dtype
    if both is not None:  # the maxima alone, as for answers
        alone, _ = kernels.conv_pool(x, w, b, window, groups, pool, rectify, indexed=False)
        np.testing.assert_array_equal(alone, y)
    g = random.integers(-2, 3, y.shape).astype(x.dtype)
    dw, db = kernels.conv_pool_grads(x, g, index, window, groups, pool)
    wide = reference.max_unpool(g * (first != kernels.NO_TAP), first % kernels.NO_TAP, pool)
    close(dw, reference.conv_weight_grad(x, wide, window, groups))
    close(db, wide.sum((0, 2, 3)))


@pytest.mark.host
@pytest.mark.parametrize(("width", "joins"), [(255, True), (256, False)])
def test_in_one_takes_an_index_of_one_byte(width, joins):
    window = kernels.window("conv2d", (1, width), 1)
    pool = kernels.window("max_pool2d", (1, width), (1, width), (1, width))
    x = np.arange(width, dtype=np.float32).reshape(1, 1, 1, width)
    both = kernels.conv_pool(x, np.ones((1, 1, 1, 1), np.float32), None, window, 1, pool, False)
    assert (both is not None) == joins
    assert both is None or (both[0].item(), both[1].item()) == (254, 254)


@pytest.mark.host
def test_in_one_the_bias_is_added_once(tile):
    window = kernels.window("conv2d", (6, 4), (3, 1))
    pool = kernels.window("max_pool2d", (4, 4), 2, 2)
    x, w, b = np.ones((1, 1, 6, 4)), np.full((2, 1, 3, 1), 1.0), np.array([5.0, -7.0])
    y, _ = kernels.conv_pool(x, w, b, window, 1, pool, False)
    assert y.tolist() == [[[[8.0, 8.0]] * 2, [[-4.0, -4.0]] * 2]]
    y, _ = kernels.conv_pool(x, w, None, window, 1, pool, False)
    assert y.tolist() == [[[[3.0, 3.0]] * 2] * 2]


@pytest.mark.host
def test_in_one_wants_windows_of_at_most_255_neighbours():
    x, w = np.zeros((1, 1, 34, 34), np.float32), np.zeros((1, 1, 1, 1), np.float32)
    window = kernels.window("conv2d", (34, 34), 1)
    for size, dilation, joins in (
        *((2, 1, True), (15, 1, True)),
        *((16, 1, False), (2, 2, False), ((1, 17), 1, True), ((17, 1), 1, True)),
    ):
        pool = kernels.window("max_pool2d", (34, 34), size, size, 0, dilation)
        assert pool.stride == pool.size
        both = kernels.conv_pool(x, w, None, window, 1, pool, False)
        assert (both is not None) == joins
        index = np.zeros((1, 1, *pool.out), np.uint8)
        g = np.ones((1, 1, *pool.out), np.float32)
        dw, _ = kernels.conv_pool_grads(x + 2, g, index, window, 1, pool)
        assert dw.item() == 2 * g.size


@pytest.mark.host
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_in_one_passes_nan_and_infinity_like_the_two_in_turn(bad):
    window = kernels.window("conv2d", (6, 6), 3, 1, "same")
    pool = kernels.window("max_pool2d", (6, 6), 2, 2)
    random = np.random.default_rng(0)
    x, w = random.normal(size=(2, 1, 6, 6)), random.normal(size=(3, 1, 3, 3))
    x[1, 0, 2, 3] = bad
    right, first = kernels.max_pool(kernels.conv_forward(x, w, None, window, 1), pool)
    both = kernels.conv_pool(x, w, None, window, 1, pool, False)
    assert (both is None) == bool(np.isnan(right).any())  # a NaN is left to the two in turn
    if both:
        np.testing.assert_allclose(both[0], right, atol=1e-12)
        np.testing.assert_array_equal(both[1], first)
    x[1, 0, 2, 3] = 0
    y, index = kernels.conv_pool(x, w, None, window, 1, pool, False)
    g = random.normal(size=y.shape)
    g[0, 1, 2, 1] = bad
    dw, _ = kernels.conv_pool_grads(x, g, index, window, 1, pool)
    expected = kernels.conv_weight_grad(x, kernels.max_unpool(g, index, pool), window, 1)
    np.testing.assert_allclose(dw, expected, atol=1e-12)
