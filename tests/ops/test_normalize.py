"""Laws, numerics, defaults and errors of softmax, log_softmax and standardize."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl as md
from minidl import ops
from minidl.errors import ShapeError

SEEDS = st.integers(0, 2**32 - 1)


@given(seed=SEEDS)
def test_softmax_does_not_see_a_shift(seed):
    rng = np.random.default_rng(seed)
    x, c = rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 1, 4)) * 50
    for op in (ops.softmax, ops.log_softmax):
        np.testing.assert_allclose(op(x + c, 1).numpy(), op(x, 1).numpy(), rtol=1e-9, atol=1e-12)
    lse = ops.logsumexp(x + c, 1, keepdims=True).numpy()
    np.testing.assert_allclose(lse, ops.logsumexp(x, 1, keepdims=True).numpy() + c, rtol=1e-9)


@given(seed=SEEDS)
def test_softmax_sums_to_one_and_its_gradient_to_zero(seed):
    rng = np.random.default_rng(seed)
    x = md.tensor(rng.normal(size=(3, 4)) * 5, dtype="float64", requires_grad=True)
    y = ops.softmax(x)
    np.testing.assert_allclose(y.numpy().sum(-1), 1, rtol=1e-14)
    y.backward(rng.normal(size=(3, 4)))
    np.testing.assert_allclose(x.grad.numpy().sum(-1), 0, atol=1e-14)


@given(seed=SEEDS)
def test_log_softmax_is_the_logarithm(seed):
    x = np.random.default_rng(seed).normal(size=(3, 4)) * 5
    np.testing.assert_allclose(
        ops.log_softmax(x, 0).numpy(), np.log(ops.softmax(x, 0).numpy()), rtol=1e-10, atol=1e-12
    )


def test_large_logits_neither_overflow_nor_vanish():
    x = np.array([[1000.0, 0.0], [-1000.0, -2000.0]])
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        assert ops.softmax(x).numpy().tolist() == [[1.0, 0.0], [1.0, 0.0]]
        assert ops.log_softmax(x).numpy().tolist() == [[0.0, -1000.0], [0.0, -1000.0]]


def test_the_last_axis_is_the_default():
    x = np.arange(24.0).reshape(2, 3, 4)
    for op in (ops.softmax, ops.log_softmax):
        np.testing.assert_array_equal(op(x).numpy(), op(x, axis=2).numpy())
        for other in (0, 1):
            assert not np.allclose(op(x).numpy(), op(x, axis=other).numpy())


def test_standardize():
    x = np.random.default_rng(0).normal(3.0, 5.0, size=(4, 50))
    y = ops.standardize(x, 1).numpy()
    np.testing.assert_allclose(y.mean(1), 0, atol=1e-14)
    np.testing.assert_allclose(y.var(1), x.var(1) / (x.var(1) + 1e-5), rtol=1e-12)
    assert ops.standardize(x).numpy().mean() == pytest.approx(0, abs=1e-14)
    one = ops.standardize(np.array([0.0, 0.002])).numpy()
    assert one.tolist() == pytest.approx([-0.001 / np.sqrt(1.1e-5), 0.001 / np.sqrt(1.1e-5)])
    wide = ops.standardize(np.array([0.0, 2.0]), eps=3.0).numpy()
    assert wide.tolist() == [-0.5, 0.5]
    assert ops.standardize(np.array([5.0, 5.0])).numpy().tolist() == [0.0, 0.0]
    # A float32 mean of large numbers is rounded, here by 1/2. So it is subtracted twice.
    large = (3e6 + np.arange(777) % 3).astype(np.float32)
    assert abs(ops.standardize(large).numpy().mean(dtype="d")) < 1e-6


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "standardize"])
def test_an_axis_that_is_not_there(name):
    for axis in (2, -3):
        with pytest.raises(ShapeError, match=rf"{name}: axis {axis} is outside|axis {axis}"):
            getattr(ops, name)(np.zeros((2, 3)), axis)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_a_number_has_no_axis(name):
    with pytest.raises(ShapeError, match=rf"{name}: axis -1 is outside the 0 axes"):
        getattr(ops, name)(np.float64(1.0))


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "cumsum"])
def test_one_axis_is_asked_for(name):
    for x, axis in ((np.zeros(3), None), (np.zeros((2, 3)), (0, 1))):
        with pytest.raises(ShapeError, match=rf"{name}: expected one axis as an int, got"):
            getattr(ops, name)(x, axis)


def test_float16_is_standardised_by_squares_in_float32():
    x = np.array([[-500, 500]], "f2")  # 500² is no float16
    np.testing.assert_allclose(ops.standardize(x, 1).numpy(), [[-1, 1]], atol=1e-3)
