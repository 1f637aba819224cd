"""Batch normalisation agrees with its formula in float64, whatever the layout and the tile."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl as md
from minidl.kernels import portable
from minidl.kernels.cpu import batch_norm
from minidl.ops import normalize

EPS = 1e-3


@pytest.fixture(params=[1, 300, 1 << 20, None])
def engine(request, monkeypatch):
    """The CPU's version in tiles of some size, and the portable one."""
    if request.param is None:
        return portable
    monkeypatch.setattr(batch_norm, "TILE", request.param)
    return batch_norm


@st.composite
def images(draw):
    n, c, h, w = (draw(st.integers(1, 5)) for _ in range(4))
    order = draw(st.permutations(range(4)))  # how the axes lie in memory
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = (n + 1, c, h, w)
    lying = [random.normal(3, 2, [shape[a] for a in order]) for _ in range(2)]
    x, g = (a.transpose(np.argsort(order)).astype(dtype) for a in lying)
    return x, g, *(random.normal(size=c).astype(dtype) for _ in range(2))


def expected(x, g, weight, bias):
    x, g, weight, bias = (a.astype(np.float64) for a in (x, g, weight, bias))
    axes, by_channel = (0, 2, 3), (1, -1, 1, 1)
    mean, variance = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
    standard = (x - mean) / np.sqrt(variance + EPS)
    h = g * weight.reshape(by_channel)
    dx = h - h.mean(axes, keepdims=True) - standard * (h * standard).mean(axes, keepdims=True)
    y = standard * weight.reshape(by_channel) + bias.reshape(by_channel)
    sums = (g * standard).sum(axes), g.sum(axes)
    return y, mean.ravel(), variance.ravel(), dx / np.sqrt(variance + EPS), *sums


@given(images())
def test_value_and_gradients(engine, case):
    x, g, weight, bias = case
    right = expected(x, g, weight, bias)
    mean, variance = engine.batch_norm_moments(x)
    inverse = 1 / np.sqrt(variance + x.dtype.type(EPS))
    y = engine.batch_norm_affine(x, mean, weight * inverse, bias)
    found = y, mean, variance, *engine.batch_norm_grads(g, x, weight, mean, inverse)
    tolerance = 1e-9 if x.dtype == np.float64 else 5e-3
    names = ("y", "mean", "variance", "dx", "dweight", "dbias")
    for name, ours, theirs in zip(names, found, right, strict=True):
        assert ours.dtype == x.dtype, name
        limit = tolerance * (1 + np.abs(theirs).max())
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=limit, err_msg=name)


@given(images())
def test_with_relu(engine, case):
    """As the two in turn, where relu is 0 whatever g is there."""
    x, g, weight, bias = case
    mean, variance = engine.batch_norm_moments(x)
    inverse = 1 / np.sqrt(variance + x.dtype.type(EPS))
    x[0, 0, 0, 0] = np.nan
    affine = x, mean, weight * inverse, bias
    y = engine.batch_norm_affine(*affine, rectify=True)
    right = np.clip(engine.batch_norm_affine(*affine), 0, np.inf)
    assert y.tobytes() == right.tobytes() and np.isnan(y[0, 0, 0, 0])
    x[0, 0, 0, 0] = 1
    y = engine.batch_norm_affine(*affine, rectify=True)
    masked = np.where(y > 0, g, 0)
    g[y == 0] = np.inf
    found = engine.batch_norm_grads(g, x, weight, mean, inverse, bias)
    right = engine.batch_norm_grads(masked, x, weight, mean, inverse)
    tolerance = 1e-10 if x.dtype == np.float64 else 1e-4
    for ours, theirs in zip(found, right, strict=True):
        limit = tolerance * (1 + np.abs(theirs).max())
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=limit)


def test_at_the_kink_of_relu_no_gradient_passes(engine):
    x = np.array([-1.0, 0.0, 1.0]).reshape(3, 1, 1, 1)  # the middle one is 0 behind the layer too
    g, one, zero = np.ones_like(x), np.ones(1), np.zeros(1)
    _, weight_grad, bias_grad = engine.batch_norm_grads(g, x, one, zero, one, zero)
    assert (weight_grad, bias_grad) == (1, 1)


@pytest.mark.parametrize("scale", [1e-18, 1e-6, 1e6, 1e18])
@pytest.mark.parametrize("offset", [0, 30])
def test_moments_keep_their_digits_at_any_scale(engine, scale, offset):
    x = np.random.default_rng(3).normal(offset, 1, (4, 2, 9, 5))
    x = (scale * x).astype(np.float32)
    mean, variance = engine.batch_norm_moments(x)
    wide = x.astype(np.float64)
    error = scale * (1 + offset) * 1e-6
    np.testing.assert_allclose(mean, wide.mean((0, 2, 3)), rtol=0, atol=error)
    np.testing.assert_allclose(variance, wide.var((0, 2, 3)), rtol=1e-5, atol=1e-42)


def test_results_have_the_memory_order_of_the_images(engine):
    x = np.random.default_rng(0).random((4, 3, 2, 5)).transpose(3, 1, 0, 2)
    mean, variance = engine.batch_norm_moments(x)
    assert engine.batch_norm_affine(x, mean, variance, mean).strides == x.strides
    assert engine.batch_norm_grads(x, x, mean, mean, variance)[0].strides == x.strides


def test_rows_fill_the_tile_and_leave_none_out(monkeypatch):
    x = np.zeros((2, 3, 7, 5))  # a row has 240 bytes
    taken = {}
    for tile in (1, 479, 480, 10**6):
        monkeypatch.setattr(batch_norm, "TILE", tile)
        rows = [x[some].shape[2] for some in batch_norm._rows(x)]
        assert sum(rows) == 7
        taken[tile] = rows[0]
    assert taken == {1: 1, 479: 1, 480: 2, 10**6: 7}


def op(x, weight, bias, rectify=False):
    """The operation, with running moments of its own."""
    running = [md.tensor(a, dtype=a.dtype).data for a in (np.zeros(2), np.ones(2), np.array(0))]
    return normalize.batch_norm(x, weight, bias, EPS, running, 0.1, rectify)[0]


both = pytest.mark.parametrize("rectify", [False, True])


def leaves():
    random = np.random.default_rng(1)
    arrays = random.normal(size=(3, 2, 2, 2)), random.normal(size=2), random.normal(size=2)
    return [md.tensor(a, dtype=np.float64, requires_grad=True) for a in arrays]


@both
def test_derivatives_to_second_order(rectify):
    md.testing.gradcheck(lambda *inputs: op(*inputs, rectify), *leaves(), order=2)


@both
def test_both_ways_to_the_gradients_agree(rectify):
    x, weight, bias = leaves()
    g = np.random.default_rng(2).normal(size=x.shape)
    y = op(x, weight, bias, rectify)
    y.backward(g, create_graph=True)
    slow = [t.grad.numpy().copy() for t in (x, weight, bias)]
    for t in (x, weight, bias):
        t.grad = None
    op(x, weight, bias, rectify).backward(g)
    for t, other in zip((x, weight, bias), slow, strict=True):
        np.testing.assert_allclose(t.grad.numpy(), other, atol=1e-12)


def test_a_graph_that_is_kept_answers_for_each_gradient_anew():
    x, weight, bias = leaves()
    y = op(x, weight, bias)
    g = np.random.default_rng(2).normal(size=x.shape)
    y.backward(g, retain_graph=True)
    once = [t.grad.numpy().copy() for t in (x, weight, bias)]
    y.backward(2 * g)
    for t, first in zip((x, weight, bias), once, strict=True):
        np.testing.assert_allclose(t.grad.numpy(), 3 * first, atol=1e-12)


@pytest.mark.host
def test_the_order_of_the_gradient_in_memory_does_not_change_a_byte():
    random = np.random.default_rng(0)
    x, g = (random.normal(size=(8, 3, 64, 9)).astype("f").transpose(3, 1, 0, 2) for _ in range(2))
    mean, variance = batch_norm.batch_norm_moments(x)
    for other in (np.ascontiguousarray(g), g.copy(order="F")):
        for ours, theirs in zip(
            batch_norm.batch_norm_grads(g, x, mean + 1, mean, variance),
            batch_norm.batch_norm_grads(other, x, mean + 1, mean, variance),
            strict=True,
        ):
            assert np.array_equal(ours, theirs)
