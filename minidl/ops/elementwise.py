"""Operations that keep the shape: y[i] depends on x[i] alone.

Two-argument ones broadcast, and the engine sums a gradient back to the shape of its input.
g is dL/dy; each docstring states y and dy/dx, and the pullback below it is g·dy/dx.
"""

from math import pi
from math import sqrt as _root
from typing import Any

from .. import backend
from ..backend import Array
from ..errors import ConfigError
from ..graph import record
from ..tensor import ArrayLike, Tensor, as_tensor
from .inputs import floating, operands


def add(a: ArrayLike, b: ArrayLike) -> Tensor:
    """y = a + b; dy/da = dy/db = 1."""
    a, b, xp = operands("add", a, b)
    return record(xp.add(a.data, b.data), (a, lambda g, y: g), (b, lambda g, y: g))


def subtract(a: ArrayLike, b: ArrayLike) -> Tensor:
    """y = a - b; dy/da = 1, dy/db = -1."""
    a, b, xp = operands("subtract", a, b)
    return record(xp.subtract(a.data, b.data), (a, lambda g, y: g), (b, lambda g, y: -g))


def multiply(a: ArrayLike, b: ArrayLike) -> Tensor:
    """y = a·b; dy/da = b, dy/db = a."""
    a, b, xp = operands("multiply", a, b)
    return record(xp.multiply(a.data, b.data), (a, lambda g, y: g * b), (b, lambda g, y: g * a))


def divide(a: ArrayLike, b: ArrayLike) -> Tensor:
    """y = a / b; dy/da = 1/b, dy/db = -y/b."""
    a, b, xp = operands("divide", a, b)
    a, b = floating(a)[0], floating(b)[0]
    return record(xp.divide(a.data, b.data), (a, lambda g, y: g / b), (b, lambda g, y: -g * y / b))


def power(a: ArrayLike, b: ArrayLike) -> Tensor:
    """y = aᵇ; dy/da = b·aᵇ⁻¹ (0 where b = 0), dy/db = y·ln a (0 where a = 0)."""
    a, b, xp = operands("power", a, b)

    def by_base(g: Tensor, y: Tensor) -> Tensor:
        return g * b * a ** (where(b.data == 0, 1.0, b) - 1)

    def by_exponent(g: Tensor, y: Tensor) -> Tensor:
        return g * y * log(where(a.data == 0, 1.0, a))

    return record(xp.power(a.data, b.data), (a, by_base), (b, by_exponent))


def negative(x: ArrayLike) -> Tensor:
    """y = -x; dy/dx = -1."""
    x = as_tensor(x)
    return record(-x.data, (x, lambda g, y: -g))


def abs(x: ArrayLike) -> Tensor:
    """y = |x|; dy/dx = sign x, which is 0 at 0."""
    x = as_tensor(x)
    return record(x._module.abs(x.data), (x, lambda g, y: g * Tensor(x._module.sign(x.data))))


def exp(x: ArrayLike) -> Tensor:
    """y = eˣ; dy/dx = y. Overflows to inf above 88.7 in float32, 709.8 in float64."""
    x, xp = floating(x)
    return record(xp.exp(x.data), (x, lambda g, y: g * y))


def expm1(x: ArrayLike) -> Tensor:
    """y = eˣ - 1, exact for small x; dy/dx = y + 1."""
    x, xp = floating(x)
    return record(xp.expm1(x.data), (x, lambda g, y: g * (y + 1)))


def log(x: ArrayLike) -> Tensor:
    """y = ln x; dy/dx = 1/x."""
    x, xp = floating(x)
    return record(xp.log(x.data), (x, lambda g, y: g / x))


def log1p(x: ArrayLike) -> Tensor:
    """y = ln(1 + x), exact for small x; dy/dx = 1/(1 + x)."""
    x, xp = floating(x)
    return record(xp.log1p(x.data), (x, lambda g, y: g / (1 + x)))


def sqrt(x: ArrayLike) -> Tensor:
    """y = √x; dy/dx = 1/(2y), infinite at 0."""
    x, xp = floating(x)
    return record(xp.sqrt(x.data), (x, lambda g, y: g / (2 * y)))


def square(x: ArrayLike) -> Tensor:
    """y = x²; dy/dx = 2x."""
    x = as_tensor(x)
    return record(x._module.square(x.data), (x, lambda g, y: 2 * g * x))


def reciprocal(x: ArrayLike) -> Tensor:
    """y = 1/x; dy/dx = -y²."""
    x, xp = floating(x)
    return record(xp.reciprocal(x.data), (x, lambda g, y: -g * y * y))


def sin(x: ArrayLike) -> Tensor:
    """y = sin x (radians); dy/dx = cos x."""
    x, xp = floating(x)
    return record(xp.sin(x.data), (x, lambda g, y: g * cos(x)))


def cos(x: ArrayLike) -> Tensor:
    """y = cos x (radians); dy/dx = -sin x."""
    x, xp = floating(x)
    return record(xp.cos(x.data), (x, lambda g, y: -g * sin(x)))


def tan(x: ArrayLike) -> Tensor:
    """y = tan x (radians); dy/dx = 1 + y²."""
    x, xp = floating(x)
    return record(xp.tan(x.data), (x, lambda g, y: g * (1 + y * y)))


def arcsin(x: ArrayLike) -> Tensor:
    """y = arcsin x in radians; dy/dx = 1/√(1 - x²)."""
    x, xp = floating(x)
    return record(xp.arcsin(x.data), (x, lambda g, y: g / sqrt(1 - x * x)))


def arccos(x: ArrayLike) -> Tensor:
    """y = arccos x in radians; dy/dx = -1/√(1 - x²)."""
    x, xp = floating(x)
    return record(xp.arccos(x.data), (x, lambda g, y: -g / sqrt(1 - x * x)))


def arctan(x: ArrayLike) -> Tensor:
    """y = arctan x in radians; dy/dx = 1/(1 + x²)."""
    x, xp = floating(x)
    return record(xp.arctan(x.data), (x, lambda g, y: g / (1 + x * x)))


def sinh(x: ArrayLike) -> Tensor:
    """y = sinh x; dy/dx = cosh x."""
    x, xp = floating(x)
    return record(xp.sinh(x.data), (x, lambda g, y: g * cosh(x)))


def cosh(x: ArrayLike) -> Tensor:
    """y = cosh x; dy/dx = sinh x."""
    x, xp = floating(x)
    return record(xp.cosh(x.data), (x, lambda g, y: g * sinh(x)))


def tanh(x: ArrayLike) -> Tensor:
    """y = tanh x; dy/dx = 1 - y²."""
    x, xp = floating(x)
    return record(xp.tanh(x.data), (x, lambda g, y: g * (1 - y * y)))


def erf(x: ArrayLike) -> Tensor:
    """y = 2/√π ∫₀ˣ e^(-t²) dt; dy/dx = 2/√π·e^(-x²)."""
    x, _ = floating(x)
    return record(backend.erf(x.data), (x, lambda g, y: g * (2 / _root(pi)) * exp(-x * x)))


def keep_where(g: Tensor, mask: Array) -> Tensor:
    """g where the mask holds, 0 elsewhere, whatever g is there (0·inf would be NaN)."""
    value = g._module.where(mask, g.data, g.dtype.type(0))
    return record(value, (g, lambda h, y: keep_where(h, mask)))


def clip(x: ArrayLike, low: float | None = None, high: float | None = None) -> Tensor:
    """y = x kept within [low, high]; dy/dx = 1 on the closed interval, else 0."""
    x = as_tensor(x)
    low, high = (-float("inf") if low is None else low), (float("inf") if high is None else high)
    if not low <= high:
        raise ConfigError(f"clip: expected low <= high, got [{low}, {high}]")
    inside = (x.data >= low) & (x.data <= high)
    return record(x._module.clip(x.data, low, high), (x, lambda g, y: keep_where(g, inside)))


def maximum(a: ArrayLike, b: ArrayLike) -> Tensor:
    """y = max(a, b); the gradient goes to the larger one, half to each where they tie."""
    a, b, xp = operands("maximum", a, b)
    return _larger(xp.maximum(a.data, b.data), a, b)


def minimum(a: ArrayLike, b: ArrayLike) -> Tensor:
    """y = min(a, b); the gradient goes to the smaller one, half to each where they tie."""
    a, b, xp = operands("minimum", a, b)
    return _larger(xp.minimum(a.data, b.data), a, b)


def _larger(value: Array, a: Tensor, b: Tensor) -> Tensor:
    tie = a.data == b.data
    return record(
        value,
        (a, lambda g, y: keep_where(where(tie, g * 0.5, g), a.data == y.data)),
        (b, lambda g, y: keep_where(where(tie, g * 0.5, g), b.data == y.data)),
    )


def where(condition: ArrayLike, a: ArrayLike, b: ArrayLike) -> Tensor:
    """y = a where the condition holds, else b; the gradient follows the choice."""
    holds: Any = as_tensor(condition).data.astype(bool)
    a, b, xp = operands("where", a, b)
    return record(
        xp.where(holds, a.data, b.data),
        (a, lambda g, y: keep_where(g, holds)),
        (b, lambda g, y: keep_where(g, ~holds)),
    )
