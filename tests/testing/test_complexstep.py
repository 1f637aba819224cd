"""The complex step: derivatives to the last digit, and what it cannot differentiate."""

import numpy as np
import pytest

import minidl as md
from minidl import ops
from minidl.errors import GradientError
from minidl.testing import complex_step
from tests.ops.cases import CASES

X = np.array([0.3, -0.7, 1.1])


def test_a_derivative_to_the_last_digit():
    np.testing.assert_allclose(complex_step(ops.sin, X), np.cos(X), rtol=1e-15)
    found = complex_step(lambda x: (x * x * x).sum(), X, [1.0, 0.0, 2.0])
    assert found == pytest.approx(3 * X[0] ** 2 + 6 * X[2] ** 2, rel=1e-15)


ANALYTIC = (
    *("add", "subtract", "multiply", "divide", "negative", "exp", "log", "sqrt", "square", "sin"),
    *("cos", "tan", "sinh", "cosh", "tanh", "arctan", "arcsin", "arccos", "reciprocal", "log1p"),
    *("expm1", "power", "sum", "mean", "var", "std", "cumsum", "matmul", "einsum", "tensordot"),
    *("outer", "reshape", "flatten", "transpose", "moveaxis", "swapaxes", "expand_dims"),
    *("squeeze", "broadcast_to", "pad", "flip", "roll", "tril", "triu", "concatenate", "stack"),
    *("getitem", "conv2d", "conv_transpose2d", "avg_pool2d", "global_avg_pool2d", "mse_loss"),
    *("leaky_relu", "elu", "selu", "standardize"),
)


@pytest.mark.parametrize("name", ANALYTIC)
@pytest.mark.parametrize("seed", range(5))
def test_gradients_agree_with_it_to_eleven_digits(name, seed):
    rng = np.random.default_rng(seed)
    arrays, kwargs = CASES[name].draw(rng)
    f = CASES[name].function(name, kwargs)
    for i, a in enumerate(arrays[:2]):  # a bias is added in place: it cannot be complex alone
        d = rng.normal(size=a.shape)

        def alone(x, i=i):
            return f(*arrays[:i], x, *arrays[i + 1 :])

        _, slope = md.jvp(alone, a, d)
        size = 1e-12 * (1 + np.abs(slope.numpy()).max(initial=0))
        np.testing.assert_allclose(complex_step(alone, a, d), slope.numpy(), rtol=1e-11, atol=size)


@pytest.mark.parametrize(
    ("f", "words"),
    [
        (ops.softplus, "not analytic"),
        (ops.silu, "the step and a central difference disagree"),
        (ops.abs, "complex Tensor, got float64: f is not analytic"),
        (
            lambda x: ops.norm(x).astype(float) if False else md.as_tensor(x.data.real),
            "got float64",
        ),
        (lambda x: 3.0, "got float: f is not analytic"),
        (lambda x: ops.log(x * 0.0), "values that are not finite"),
    ],
)
def test_functions_that_are_not_analytic(f, words):
    with np.errstate(all="ignore"), pytest.raises(GradientError, match=words):
        complex_step(f, X)


def test_a_direction_of_another_shape():
    with pytest.raises(
        GradientError, match=r"complex_step: expected d of shape \(3,\), got \(2,\)"
    ):
        complex_step(ops.sin, X, [1.0, 2.0])
