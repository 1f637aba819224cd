"""The nonlinearities of neural networks: elementwise, and stable where the formula is not.

g is dL/dy; each docstring states y and dy/dx.
"""

from math import pi
from math import sqrt as _root
from typing import Any

from ..checks import constant, floating, operands
from ..device import Array
from ..device import erf as erf_of
from ..errors import ConfigError
from ..kernels import masks
from ..tensor import ArrayLike, Tensor, as_tensor, record
from .elementwise import clip, erf, exp, keep_where, tanh, where

FAR = 30  # for gelu: beyond it tanh is 1 in every float type


def sigmoid(x: ArrayLike) -> Tensor:
    """y = 1/(1 + e⁻ˣ); dy/dx = y(1 - y).

    Numerics: only e^(-|x|) is computed. It cannot overflow, and y keeps its digits near 0.
    """
    x, xp = floating(x)
    return record(sigmoid_of(x.data, xp), (x, lambda g, y: g * y * (1 - y)), name="sigmoid")


def sigmoid_of(x: Array, xp: Any) -> Array:
    """sigmoid of an array of the module xp."""
    small = xp.exp(-xp.abs(x))
    return xp.where(x >= 0, xp.ones_like(small), small) / (1 + small)


def softplus(x: ArrayLike) -> Tensor:
    """y = ln(1 + eˣ) = max(x, 0) + ln(1 + e^(-|x|)); dy/dx = sigmoid x.

    Numerics: the second form is computed, because eˣ overflows for a large x.
    """
    x, xp = floating(x)
    return record(softplus_of(x.data, xp), (x, lambda g, y: g * sigmoid(x)), name="softplus")


def softplus_of(x: Array, xp: Any) -> Array:
    """softplus of an array of the module xp."""
    return xp.maximum(x, 0) + xp.log1p(xp.exp(-xp.abs(x)))


def log_sigmoid(x: ArrayLike) -> Tensor:
    """y = ln sigmoid x = -softplus(-x); dy/dx = sigmoid(-x)."""
    x, xp = floating(x)
    value = -softplus_of(-x.data, xp)
    return record(value, (x, lambda g, y: g * sigmoid(-x)), name="log_sigmoid")


def logaddexp(a: ArrayLike, b: ArrayLike) -> Tensor:
    """y = ln(eᵃ + eᵇ) without overflow; dy/da = sigmoid(a - b), dy/db = sigmoid(b - a)."""
    a, b, xp = operands("logaddexp", a, b)
    a, b = floating(a)[0], floating(b)[0]
    return record(
        xp.logaddexp(a.data, b.data),
        (a, lambda g, y: g * sigmoid(a - b)),
        (b, lambda g, y: g * sigmoid(b - a)),
        name="logaddexp",
    )


def relu(x: ArrayLike) -> Tensor:
    """y = max(x, 0); dy/dx = 1 where x > 0, else 0 (0 at 0 by convention)."""
    x = as_tensor(x)
    return record(
        masks.relu(x.data),
        (x, lambda g, y: keep_where(g, y.data > 0)),
        name="relu",
        fast=lambda g, y, needed: [Tensor(masks.keep_positive(g.data, y.data))],
    )


def leaky_relu(x: ArrayLike, slope: float = 0.01) -> Tensor:
    """y = x where x > 0, else slope·x; dy/dx = 1 where x > 0, else slope."""
    x, xp = floating(x)
    slope = constant("leaky_relu", slope=slope)  # a number of NumPy would promote float32
    value = xp.where(x.data > 0, x.data, slope * x.data)
    return record(value, (x, lambda g, y: where(x.data > 0, g, slope * g)), name="leaky_relu")


def elu(x: ArrayLike, alpha: float = 1.0) -> Tensor:
    """y = x where x > 0, else α(eˣ - 1); dy/dx = 1 where x > 0, else αeˣ.

    Source: Clevert, Unterthiner, Hochreiter 2015, eq. 15.
    """
    return _elu("elu", x, 1.0, constant("elu", alpha=alpha))


SELU_SCALE = 1.0507009873554805
SELU_ALPHA = 1.6732632423543772


def selu(x: ArrayLike) -> Tensor:
    """y = λ·elu(x, α), λ = 1.0507, α = 1.6733; dy/dx = λ·elu'(x, α).

    λ and α are chosen so that mean 0 and variance 1 are kept from layer to layer.
    Source: Klambauer et al. 2017, eq. 2.
    """
    return _elu("selu", x, SELU_SCALE, SELU_ALPHA)


def _elu(name: str, x: ArrayLike, scale: float, alpha: float) -> Tensor:
    """y = scale·x where x > 0, else scale·α(eˣ - 1); dy/dx = scale where x > 0, else scale·α·eˣ."""
    x, xp = floating(x)
    below = xp.minimum(x.data, 0)  # e^x is computed for x > 0 too, where it must not overflow
    value = scale * xp.where(x.data > 0, x.data, alpha * xp.expm1(below))

    def pullback(g: Tensor, y: Tensor) -> Tensor:
        slope = scale * alpha * exp(where(x.data > 0, 0.0, x))
        return g * where(x.data > 0, scale, slope)

    return record(value, (x, pullback), name=name)


def gelu(x: ArrayLike, approximate: str = "none") -> Tensor:
    """y = x·Φ(x), Φ the distribution function of N(0, 1); dy/dx = Φ(x) + x·φ(x), φ = Φ'.

    approximate: "none" computes Φ by the error function. "tanh" is much faster on NumPy, and within
    5e-4 of it: Φ(x) ≈ (1 + tanh u)/2, u = √(2/π)(x + 0.044715x³), φ ≈ (1 - tanh² u)·u'/2.
    Numerics: beyond ±30, tanh u is ±1, and x³ could overflow: there x counts as ±30 in u.
    Raises: ConfigError for another `approximate`.
    Source: Hendrycks, Gimpel 2016.
    """
    x, xp = floating(x)
    if approximate not in ("none", "tanh"):
        raise ConfigError(f"gelu: expected approximate 'none' or 'tanh', got {approximate!r}")
    c, cubic, exact = _root(2 / pi), 0.044715, approximate == "none"
    if exact:
        share = 0.5 * (1 + erf_of(x.data * _root(0.5)))
    else:
        near = xp.clip(x.data, -FAR, FAR)
        share = 0.5 * (1 + xp.tanh(c * (near + cubic * near**3)))

    def pullback(g: Tensor, y: Tensor) -> Tensor:
        if exact:
            slope = 0.5 * (1 + erf(x * _root(0.5))) + x * exp(-0.5 * x * x) * (0.5 * c)
        else:
            near = clip(x, -FAR, FAR)
            t = tanh(c * (near + cubic * near**3))
            slope = 0.5 * (1 + t) + near * (1 - t * t) * (0.5 * c) * (1 + 3 * cubic * near * near)
        return g * slope

    return record(x.data * share, (x, pullback), name="gelu")


def silu(x: ArrayLike) -> Tensor:
    """y = x·s with s = sigmoid x; dy/dx = s + y(1 - s)."""
    x, xp = floating(x)

    def pullback(g: Tensor, y: Tensor) -> Tensor:
        s = sigmoid(x)
        return g * (s + x * s * (1 - s))

    return record(x.data * sigmoid_of(x.data, xp), (x, pullback), name="silu")
