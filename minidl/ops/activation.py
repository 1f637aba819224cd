"""The nonlinearities of neural networks: elementwise, and stable where the formula is not.

g is dL/dy; each docstring states y and dy/dx.
"""

from math import inf, pi
from math import sqrt as _root

from .. import kernels
from ..errors import ConfigError
from ..tensor import ArrayLike, Tensor, as_tensor, record
from .elementwise import erf, expm1, keep_where, tanh, where
from .inputs import floating, operands


def sigmoid(x: ArrayLike) -> Tensor:
    """y = 1/(1 + e⁻ˣ); dy/dx = y(1 - y).

    Numerics: only e^(-|x|) is taken, so nothing overflows, and y keeps its digits near 0.
    """
    x, xp = floating(x)
    small = xp.exp(-xp.abs(x.data))
    value = xp.where(x.data >= 0, xp.ones_like(small), small) / (1 + small)
    return record(value, (x, lambda g, y: g * y * (1 - y)))


def softplus(x: ArrayLike) -> Tensor:
    """y = ln(1 + eˣ) = max(x, 0) + ln(1 + e^(-|x|)); dy/dx = sigmoid x."""
    x, xp = floating(x)
    value = xp.maximum(x.data, 0) + xp.log1p(xp.exp(-xp.abs(x.data)))
    return record(value, (x, lambda g, y: g * sigmoid(x)))


def log_sigmoid(x: ArrayLike) -> Tensor:
    """y = ln sigmoid x = -softplus(-x); dy/dx = sigmoid(-x)."""
    return -softplus(-as_tensor(x))


def logaddexp(a: ArrayLike, b: ArrayLike) -> Tensor:
    """y = ln(eᵃ + eᵇ) without overflow; dy/da = sigmoid(a - b), dy/db = sigmoid(b - a)."""
    a, b, xp = operands("logaddexp", a, b)
    a, b = floating(a)[0], floating(b)[0]
    return record(
        xp.logaddexp(a.data, b.data),
        (a, lambda g, y: g * sigmoid(a - b)),
        (b, lambda g, y: g * sigmoid(b - a)),
    )


def relu(x: ArrayLike) -> Tensor:
    """y = max(x, 0); dy/dx = 1 where x > 0, else 0 (0 at 0 by convention)."""
    x = as_tensor(x)
    if x.dtype.kind == "f":  # a fifth of the time that maximum takes with a number
        value = x._module.clip(x.data, 0, inf)
    else:
        value = x._module.maximum(x.data, 0)
    return record(value, (x, lambda g, y: _keep_positive(g, y)))


def _keep_positive(g: Tensor, y: Tensor) -> Tensor:
    kept = kernels.keep_positive(g.data, y.data)
    if kept is None:
        return keep_where(g, y.data > 0)
    return record(kept, (g, lambda h, _: _keep_positive(h, y)))


def leaky_relu(x: ArrayLike, slope: float = 0.01) -> Tensor:
    """y = x where x > 0, else slope·x; dy/dx = 1 where x > 0, else slope."""
    x, _ = floating(x)
    return where(x.data > 0, x, slope * x)


def elu(x: ArrayLike, alpha: float = 1.0) -> Tensor:
    """y = x where x > 0, else α(eˣ - 1); dy/dx = 1 where x > 0, else αeˣ.

    Source: Clevert, Unterthiner, Hochreiter 2015, eq. 15.
    """
    x, _ = floating(x)
    # The branch not taken must not overflow: its zero gradient times inf would be NaN.
    return where(x.data > 0, x, alpha * expm1(where(x.data > 0, 0.0, x)))


SELU_SCALE = 1.0507009873554805
SELU_ALPHA = 1.6732632423543772


def selu(x: ArrayLike) -> Tensor:
    """y = λ·elu(x, α), λ = 1.0507, α = 1.6733; dy/dx = λ·elu'(x, α).

    λ and α keep mean 0 and variance 1 from layer to layer.
    Source: Klambauer et al. 2017, eq. 2.
    """
    return SELU_SCALE * elu(x, SELU_ALPHA)


def gelu(x: ArrayLike, approximate: str = "none") -> Tensor:
    """y = x·Φ(x), Φ the normal distribution; dy/dx = Φ(x) + x·φ(x).

    approximate: "none" (the error function), or "tanh", which is within 5e-4 and on NumPy
    much faster: Φ(x) ≈ (1 + tanh(√(2/π)(x + 0.044715x³)))/2.
    Source: Hendrycks, Gimpel 2016.
    """
    x, _ = floating(x)
    if approximate == "tanh":
        return 0.5 * x * (1 + tanh(_root(2 / pi) * (x + 0.044715 * x**3)))
    if approximate != "none":
        raise ConfigError(f"gelu: expected approximate 'none' or 'tanh', got {approximate!r}")
    return 0.5 * x * (1 + erf(x * _root(0.5)))


def silu(x: ArrayLike) -> Tensor:
    """y = x·sigmoid x; dy/dx = s + y(1 - s) with s = sigmoid x."""
    x, _ = floating(x)
    return x * sigmoid(x)
