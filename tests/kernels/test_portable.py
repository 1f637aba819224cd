"""The loss in array code against its formula in float64."""

import numpy as np
import pytest

from minidl.kernels import portable


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
