"""Kinks by the stated convention, numerics at the ends of the range, defaults, errors."""

import math

import numpy as np
import pytest

import minidl as md
from minidl import ops
from minidl.errors import ConfigError
from tests.ops.gradients import gradient


@pytest.mark.parametrize(
    ("f", "x", "expected"),
    [
        (ops.relu, [-1.0, 0.0, -0.0, 2.0], [0.0, 0.0, 0.0, 1.0]),
        (ops.leaky_relu, [-1.0, 0.0, 2.0], [0.01, 0.01, 1.0]),
        (ops.elu, [0.0, 2.0], [1.0, 1.0]),
        (lambda x: ops.elu(x, 0.5), [0.0, 2.0], [0.5, 1.0]),
        (ops.selu, [0.0], [1.0507009873554805 * 1.6732632423543772]),
    ],
)
def test_convention_at_the_kink(f, x, expected):
    assert gradient(f, x) == expected


@pytest.mark.parametrize(
    ("f", "x", "value", "slope"),
    [
        (ops.sigmoid, [-1000.0, 0.0, 1000.0], [0.0, 0.5, 1.0], [0.0, 0.25, 0.0]),
        (ops.softplus, [-1000.0, 1000.0], [0.0, 1000.0], [0.0, 1.0]),
        (ops.log_sigmoid, [-1000.0, 1000.0], [-1000.0, 0.0], [1.0, 0.0]),
        (ops.silu, [-1000.0, 1000.0], [0.0, 1000.0], [0.0, 1.0]),
        (ops.tanh, [-1000.0, 1000.0], [-1.0, 1.0], [0.0, 0.0]),
        (ops.gelu, [-1000.0, 1000.0], [0.0, 1000.0], [0.0, 1.0]),
        (ops.elu, [-1000.0, 1000.0], [-1.0, 1000.0], [0.0, 1.0]),
        (lambda x: ops.gelu(x, "tanh"), [-1000.0, 1000.0], [0.0, 1000.0], [0.0, 1.0]),
    ],
)
def test_far_from_zero_nothing_overflows(f, x, value, slope):
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        np.testing.assert_allclose(f(np.array(x)).numpy(), value, atol=1e-300)
        np.testing.assert_allclose(gradient(f, x), slope, atol=1e-300)


def test_logaddexp_far_apart():
    with np.errstate(over="raise", invalid="raise"):
        assert ops.logaddexp(1000.0, 1000.0).item() == np.float32(1000 + math.log(2))
        assert gradient(ops.logaddexp, [1000.0, -1000.0], [-1000.0, -1000.0]) == [
            [1.0, 0.5],
            [0.0, 0.5],
        ]


def test_small_values_keep_their_digits():
    # 1 - sigmoid(40) is lost in 1, sigmoid(-40) is not
    assert ops.sigmoid(np.array(-40.0)).item() == pytest.approx(math.exp(-40), rel=1e-12)
    assert ops.softplus(np.array(-40.0)).item() == pytest.approx(math.exp(-40), rel=1e-12)


def test_relu_drops_an_infinite_gradient_where_it_is_off():
    x = md.tensor([1.0, -1.0], requires_grad=True)
    ops.relu(x).backward([np.inf, np.inf])
    assert x.grad.numpy().tolist() == [np.inf, 0.0]


def test_gelu_of_both_kinds():
    x = np.linspace(-3, 3, 61)
    exact, quick = ops.gelu(x).numpy(), ops.gelu(x, approximate="tanh").numpy()
    assert 1e-5 < np.abs(exact - quick).max() < 5e-4
    np.testing.assert_array_equal(ops.gelu(x, "none").numpy(), exact)
    with pytest.raises(ConfigError, match=r"gelu.*'none' or 'tanh', got 'fast'"):
        ops.gelu(x, "fast")


def test_defaults():
    assert ops.leaky_relu(np.array(-1.0)).item() == -0.01
    assert ops.leaky_relu(np.array(-1.0), 0.3).item() == -0.3
    assert ops.elu(np.array(-1.0)).item() == math.expm1(-1)
    assert ops.elu(np.array(-1.0), 2.0).item() == 2 * math.expm1(-1)
    selu = 1.0507009873554805 * 1.6732632423543772 * math.expm1(-1)
    assert ops.selu(np.array(-1.0)).item() == pytest.approx(selu, rel=1e-15)
    assert ops.selu(np.array(2.0)).item() == 2 * 1.0507009873554805


def test_a_trained_option_is_refused_and_not_ignored():
    x, a = md.tensor([-1.0, 2.0]), md.tensor(0.25, requires_grad=True)
    calls = {
        "leaky_relu: expected slope": lambda option: ops.leaky_relu(x, option),
        "elu: expected alpha": lambda option: ops.elu(x, option),
        "huber_loss: expected delta": lambda option: ops.huber_loss(x, x, option),
        "pad: expected value": lambda option: ops.pad(x, 1, option),
    }
    for words, call in calls.items():
        with pytest.raises(md.errors.GradientError, match=f"{words} as a number, got a tensor"):
            call(a)
        for wrong in ("reflect", [1.0, 2.0], None):
            with pytest.raises(md.errors.ConfigError, match=f"{words} as a number, got"):
                call(wrong)
        assert call(a.detach()).dtype == call(np.float64(0.25)).dtype == np.float32


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_fast_gelu_is_x_or_0_far_away(dtype):
    """Value, slope and second derivative, where a cube would overflow."""
    ends = [-6e4, -800.0, -100.0, 100.0, 800.0, 6e4]
    ends = ends if dtype == "float16" else [*ends, -1e20, 1e20]
    x = md.tensor(ends, dtype=dtype)
    right = x.numpy() > 0

    def slope(t):
        return md.grad(lambda u: ops.gelu(u, "tanh").sum())(t)

    assert np.array_equal(ops.gelu(x, "tanh").numpy(), np.where(right, x.numpy(), 0))
    assert np.array_equal(slope(x).numpy(), right.astype(dtype))
    assert np.array_equal(md.grad(lambda t: slope(t).sum())(x).numpy(), np.zeros_like(right))
