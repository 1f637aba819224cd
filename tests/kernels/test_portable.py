"""The loss in array code against its formula in float64, and sums of float16."""

import numpy as np
import pytest

from minidl.kernels import portable, window


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("shape", [(1, 1), (3, 2), (7, 10)])
def test_cross_entropy_and_its_gradient_are_those_of_the_formula(shape, dtype):
    rng = np.random.default_rng(3)
    logits = rng.normal(0, 3, shape).astype(dtype)
    labels = rng.integers(0, shape[1], shape[0])
    at = np.arange(len(labels)), labels
    softmax = np.exp(logits.astype("f8"))
    softmax /= softmax.sum(1, keepdims=True)
    expected = softmax.copy()
    expected[at] -= 1

    loss, gradient = portable.cross_entropy(logits, labels)

    rtol = 1e-5 if dtype == "f4" else 1e-12
    assert loss.dtype == gradient.dtype == dtype
    np.testing.assert_allclose(loss, -np.log(softmax[at]).mean(), rtol, 1e-12)
    np.testing.assert_allclose(gradient, expected / len(labels), rtol, 1e-12)


def test_a_loss_of_float16_is_added_up_in_float32():
    logits, labels = np.zeros((20_000, 10), "f2"), np.zeros(20_000, int)
    loss, gradient = portable.cross_entropy(logits, labels)
    assert loss.dtype == gradient.dtype == np.float16
    assert loss == np.float16(np.log(10))
    np.testing.assert_allclose(gradient[0], [-0.9 / 20_000, *[0.1 / 20_000] * 9], atol=1e-7)
    logits[:, 1] = 65_504
    logits[:, 0] = -65_504  # a loss of 131,008 is more than the largest float16
    assert portable.cross_entropy(logits, labels)[0] == 65_504
    logits[0, 0] = -np.inf
    assert portable.cross_entropy(logits, labels)[0] == np.inf


def test_sums_of_float16_neither_stop_nor_overflow():
    whole = window("avg_pool2d", (28, 28), 28)
    assert portable.avg_pool(np.full((1, 1, 28, 28), 100, "f2"), whole).tolist() == [[[[100.0]]]]
    x, one = np.ones((5000, 1, 2, 2), "f2"), window("conv2d", (2, 2), 1)
    assert portable.conv_weight_grad(x, x[:, :, :1, :1].repeat(2, 2).repeat(2, 3), one, 1) == 20_000
    values = np.ones(1, "f2"), np.zeros(1, "f4"), np.ones(1, "f4")
    _, by_weight, by_bias = portable.batch_norm_grads(x, x, *values)
    assert by_weight == by_bias == 20_000


def test_running_moments_that_others_hold_do_not_change():
    old = np.zeros(2, "f"), np.ones(2, "f")
    kept = [moment.copy() for moment in old]
    seen, batches = (np.full(2, 4.0), np.full(2, 3.0)), np.array(6)
    args = *seen, np.full(2, 5.0), 1.0, (*old, batches), 0.5, 2.0
    inverse, scale, (mean, variance) = portable.batch_norm_settle(*args)
    assert inverse.tolist() == [0.5, 0.5] and scale.tolist() == [2.5, 2.5]
    assert mean.tolist() == [2, 2] and variance.tolist() == [3.5, 3.5]
    assert batches == 7
    assert all((moment == before).all() for moment, before in zip(old, kept, strict=True))


@pytest.mark.parametrize("label", [-1, -7, 3, 4, 99])
def test_a_label_outside_the_classes_reads_no_other_memory(label):
    """On a GPU nobody has looked at the labels before."""
    loss, gradient = portable.cross_entropy(np.zeros((2, 3)), np.array([1, label]))
    assert np.isfinite(loss)
    np.testing.assert_allclose(gradient.sum(1), 0, atol=1e-15)


@pytest.mark.parametrize(("dtype", "apart"), [("f4", 86.0), ("f8", 707.0)])
def test_the_gradient_has_no_subnormal_numbers(dtype, apart):
    """They would make the products of the backward pass 50 times as slow."""
    logits = np.array([[apart, 0.0], [apart + 3, 0.0]], dtype)
    _, gradient = portable.cross_entropy(logits, np.zeros(2, int))
    tiny = np.finfo(dtype).tiny
    assert tiny <= gradient[0, 1] == -gradient[0, 0] < 4 * tiny
    assert not gradient[1].any()
