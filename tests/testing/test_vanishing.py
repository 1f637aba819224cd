"""Where a gradient is 0 because the function is flat: right ones pass, wrong ones do not."""

import numpy as np
import pytest

from minidl import ops
from minidl.errors import GradientError
from minidl.tensor import record
from minidl.testing import gradcheck
from minidl.testing.differences import vanishes

SQUARE = np.zeros((2, 2))
FLAT = {
    "x - sin x at 0": (lambda x: x - ops.sin(x), np.zeros(3)),
    "tanh x to the 5th at 0": (lambda x: ops.tanh(x) ** 5, np.zeros(2)),
    "x to the 4th, nearly 0": (lambda x: x * x * x * x, np.full(2, 3e-9)),
    "squared hinge at its kink": (lambda x: ops.relu(x) ** 2, np.zeros(3)),
    "five layers of zeros": (lambda a, b, c, d, e: a @ b @ c @ d @ e, *[SQUARE] * 5),
    "a cube beside a constant": (lambda x: x**3 + 2.0, np.zeros(3)),
}


@pytest.mark.parametrize("name", FLAT)
@pytest.mark.parametrize("order", [1, 2])
def test_a_right_gradient_of_a_flat_place_passes(name, order):
    f, *inputs = FLAT[name]
    for seed in range(4):
        report = gradcheck(f, *inputs, seed=seed, order=order)
        # The second derivative of a squared hinge has two values: looked at beside the kink.
        assert not report.kinks or (order, name) == (2, "squared hinge at its kink")


def power(n, gradient):
    """x to the n with a gradient of one's own."""
    return lambda x: record(x.data**n, (x, lambda g, y: g * gradient(x)), name="power")


WRONG = {
    "a constant of 1e-12 too much at 0": (power(3, lambda x: 3 * x**2 + 1e-12), 0.0),
    "twice too large, nearly 0": (power(3, lambda x: 6 * x**2), 1e-8),
    "lost, nearly 0": (power(3, lambda x: 0 * x), 1e-8),
    "of another power": (power(3, lambda x: 3 * x), 1e-7),
    "of another sign": (power(4, lambda x: -4 * x**3), 1e-4),
    "lost where it is small": (power(2, lambda x: 0 * x), 1e-9),
    "of a kink where the function is flat": (power(3, lambda x: 3 * x**2 + 1e-9), 1e-9),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_gradient_of_a_flat_place_is_rejected(name):
    f, at = WRONG[name]
    for seed in range(4):
        with pytest.raises(GradientError, match="wrong gradient"):
            gradcheck(f, np.full(3, at), seed=seed)


def sinc(x):
    """sin(πx)/(πx), whose slope at 0 is written as a constant 0: its own slope there is -π²/3."""

    def slope(g, y):
        zero = x.data == 0
        nonzero = ops.where(zero, 1.0, x)
        return g * ops.where(zero, 0.0, (ops.cos(np.pi * nonzero) - y) / nonzero)

    return record(np.sinc(x.data), (x, slope), name="sinc")


def test_small_steps_on_which_nothing_moves_prove_nothing():
    assert gradcheck(sinc, [0.0]).worst == 0
    with pytest.raises(GradientError, match=r"wrong gradient \(relative error 1\.0e\+00"):
        gradcheck(sinc, [0.0], order=2)


def test_a_step_whose_difference_is_rounding_proves_nothing():
    beside = np.full(1, 1e-9)
    gradcheck(lambda x: 1.0 + x * x, beside)
    wrong = power(2, lambda x: 3 * x)
    with pytest.raises(GradientError, match="wrong gradient"):
        gradcheck(lambda x: 1.0 + wrong(x), beside)


def test_where_no_step_can_tell_nothing_is_called_wrong():
    gradcheck(lambda x: x * 0.0 + 1.0, [0.3])
    gradcheck(lambda x: 1e9 + 1e-9 * x, [0.3])


def test_vanishing():
    assert vanishes([1.0, 0.1, 0.01]) and vanishes([1.0, 0.2, 0.0, 0.0])
    assert (
        not vanishes([1.0, 0.1, 0.05]) and not vanishes([np.inf, 0.0]) and not vanishes([0.0, 1e-9])
    )
    assert not vanishes([np.nan, 0.0]) and not vanishes([1.0, np.nan])
