"""Pooling: conventions, defaults, and laws that need no reference."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl as md
from minidl import ops
from tests.ops import draws as d

SEEDS = st.integers(0, 2**32 - 1)


def close(a, b):
    np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-11, atol=1e-11)


def pooled_gradient(x, size, u=None, **kwargs):
    leaf = md.tensor(x, dtype="float64", requires_grad=True)
    y = ops.max_pool2d(leaf, size, **kwargs)
    y.backward(np.ones(y.shape) if u is None else u)
    return y.numpy(), leaf.grad.numpy()


def test_max_pooling_gives_the_gradient_to_the_first_maximum_in_row_major_order():
    x = np.array([[[[0.0, 5.0], [5.0, 5.0]]]])
    assert pooled_gradient(x, 2)[1].tolist() == [[[[0, 1], [0, 0]]]]
    assert pooled_gradient(np.zeros((1, 1, 3, 3)), 3)[1].ravel().tolist() == [1, *[0] * 8]
    x = np.array([[[[0.0, 1.0, 1.0], [1.0, 0.0, 1.0]]]])
    assert pooled_gradient(x, 2, stride=1)[1].tolist() == [[[[0, 2, 0], [0, 0, 0]]]]


def test_max_pooling_pads_with_minus_infinity():
    x = np.full((1, 1, 2, 2), -3.0)
    for padding in (1, (1, 1), "same"):
        y, g = pooled_gradient(x, 2, stride=1, padding=padding)
        assert np.all(y == -3.0)
        assert g.sum() == y.size
    assert pooled_gradient(x, 3, stride=1, padding=1)[1].ravel().tolist() == [4, 0, 0, 0]


def test_max_pooling_of_minus_infinity_and_nan():
    x = np.array([[[[-np.inf, -np.inf], [np.nan, 1.0]]]])
    assert ops.max_pool2d(x[:, :, :1], (1, 2)).item() == -np.inf
    y, g = pooled_gradient(x, 2)
    assert np.isnan(y).all()
    assert g.tolist() == [[[[0, 0], [1, 0]]]]


def test_windows_that_overlap_add_their_gradients():
    x = np.array([[[[0.0, 9.0, 0.0]]]])
    assert pooled_gradient(x, (1, 2), [[[[2.0, 3.0]]]], stride=1)[1].tolist() == [[[[0, 5, 0]]]]


def test_stride_is_the_size_by_default():
    x = np.zeros((1, 1, 7, 6))
    for pool in (ops.max_pool2d, ops.avg_pool2d):
        assert pool(x, 3).shape == (1, 1, 2, 2)
        assert pool(x, (3, 2)).shape == (1, 1, 2, 3)
        assert pool(x, 3, stride=1).shape == (1, 1, 5, 4)
        assert pool(x, 3, stride=(1, 2)).shape == (1, 1, 5, 2)
        assert pool(x, 3, padding=1).shape == (1, 1, 3, 2)
        assert pool(x, 3, padding="same").shape == (1, 1, 3, 2)
        assert pool(x, 3, padding="valid").shape == (1, 1, 2, 2)


def test_average_pooling_counts_the_zeros_of_the_padding():
    y = ops.avg_pool2d(np.ones((1, 1, 2, 2)), 2, stride=1, padding=1)
    close(y.numpy()[0, 0], [[0.25, 0.5, 0.25], [0.5, 1.0, 0.5], [0.25, 0.5, 0.25]])


@given(seed=SEEDS)
def test_pooling_whole_images_is_global(seed):
    x = d.spaced(np.random.default_rng(seed), (2, 3, 4, 5))
    close(ops.avg_pool2d(x, (4, 5)).numpy()[..., 0, 0], ops.global_avg_pool2d(x).numpy())
    close(ops.max_pool2d(x, (4, 5)).numpy()[..., 0, 0], ops.max(x, (2, 3)).numpy())


@given(seed=SEEDS)
def test_pooling_ignores_the_order_within_a_window(seed):
    rng = np.random.default_rng(seed)
    tiles = rng.normal(size=(2, 2, 3, 2, 6))  # windows of 2×3 pixels, each as a list

    def image(t):
        t = t.reshape(2, 2, 3, 2, 2, 3)  # (N, C, rows, columns, 2, 3)
        return t.transpose(0, 1, 2, 4, 3, 5).reshape(2, 2, 6, 6)

    shuffled = rng.permuted(tiles, axis=-1)
    for pool in (ops.max_pool2d, ops.avg_pool2d):
        close(pool(image(tiles), (2, 3)).numpy(), pool(image(shuffled), (2, 3)).numpy())


@pytest.mark.parametrize("pool", [ops.max_pool2d, ops.avg_pool2d])
def test_the_third_derivative_along_a_line(pool):
    """φ(t) = Σ pool(x + t·v)⁴ has φ'''(0) = Σ 24·pool(x)·(dpool/dt)³."""
    rng = np.random.default_rng(0)
    x, v = rng.normal(size=(1, 2, 4, 4)), rng.normal(size=(1, 2, 4, 4))
    third = md.grad(md.grad(md.grad(lambda t: (pool(x + t * v, 2) ** 4).sum())))(np.array(0.0))
    slope = (pool(x + 1e-6 * v, 2).numpy() - pool(x - 1e-6 * v, 2).numpy()) / 2e-6
    expected = (24 * pool(x, 2).numpy() * slope**3).sum()
    assert third.item() == pytest.approx(expected, rel=1e-7)


def test_the_third_derivative_of_max_pooling_stays_with_the_maxima():
    x = np.random.default_rng(0).permutation(16.0 + np.arange(16)).reshape(1, 1, 4, 4)
    u, v = np.random.default_rng(1).normal(size=(2, 1, 1, 4, 4))

    def f(x):
        return (ops.max_pool2d(x, 2) ** 4.0).sum()

    found = md.grad(lambda x: (md.hvp(f, x, v) * u).sum())(x).numpy()
    blocks = x.reshape(1, 1, 2, 2, 2, 2)
    chosen = (blocks == blocks.max((3, 5), keepdims=True)).reshape(x.shape)
    np.testing.assert_allclose(found, np.where(chosen, 24 * x * u * v, 0), rtol=1e-10)
    found = md.grad(lambda v: (md.hvp(f, x, v) * u).sum())(v).numpy()
    np.testing.assert_allclose(found, np.where(chosen, 12 * x**2 * u, 0), rtol=1e-10)
