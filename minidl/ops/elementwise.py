"""Operations that keep the shape: y[i] depends on x[i] alone.

Operations of two arguments broadcast them. The engine then sums each gradient back to the shape of
its input. g is dL/dy. Each docstring states y and dy/dx, and the pullback below it is g·dy/dx.
"""

from collections.abc import Callable
from math import inf, pi
from math import sqrt as _root
from typing import Any

from .. import device
from ..checks import bound, chosen, floating, operands
from ..device import Array
from ..errors import ConfigError
from ..kernels import masks
from ..kernels.cpu.elementwise import in_chunks
from ..tensor import ArrayLike, Tensor, as_tensor, record

_Op = Callable[[ArrayLike], Tensor]


def _unary(name: str, doc: str, pullback: Any) -> _Op:
    """The operation y = xp.<name>(x) whose pullback is (g, x, y) -> g·dy/dx."""

    def op(x: ArrayLike) -> Tensor:
        x, xp = floating(x)
        value = device.erf(x.data) if name == "erf" else getattr(xp, name)(x.data)
        return record(value, (x, lambda g, y: pullback(g, x, y)), name=name)

    op.__name__ = op.__qualname__ = name
    op.__doc__ = doc
    return op


# NumPy's expm1 and log1p keep their digits near 0, where eˣ - 1 and ln(1 + x) would lose them.
# fmt: off
exp: _Op = _unary("exp", "y = eˣ; dy/dx = y. inf above 88.7 in float32.", lambda g, x, y: g * y)
expm1: _Op = _unary("expm1", "y = eˣ - 1; y' = y + 1. Precise near 0.", lambda g, x, y: g * (y + 1))
log: _Op = _unary("log", "y = ln x; dy/dx = 1/x. -inf at 0, NaN below 0.", lambda g, x, y: g / x)
log1p: _Op = _unary("log1p", "y = ln(1 + x); dy/dx = 1/(1 + x).", lambda g, x, y: g / (1 + x))
sqrt: _Op = _unary("sqrt", "y = √x; dy/dx = 1/(2y), infinite at 0.", lambda g, x, y: g / (2 * y))
reciprocal: _Op = _unary("reciprocal", "y = 1/x; dy/dx = -y².", lambda g, x, y: -g * y * y)
sin: _Op = _unary("sin", "y = sin x (radians); dy/dx = cos x.", lambda g, x, y: g * cos(x))
cos: _Op = _unary("cos", "y = cos x (radians); dy/dx = -sin x.", lambda g, x, y: -g * sin(x))
tan: _Op = _unary("tan", "y = tan x (radians); dy/dx = 1 + y².", lambda g, x, y: g * (1 + y * y))
arcsin: _Op = _unary("arcsin", "arcsin x; y' = 1/√(1 - x²)", lambda g, x, y: g / sqrt(1 - x * x))
arccos: _Op = _unary("arccos", "arccos x; y' = -1/√(1 - x²)", lambda g, x, y: -g / sqrt(1 - x * x))
arctan: _Op = _unary("arctan", "y = arctan x; dy/dx = 1/(1 + x²).", lambda g, x, y: g / (1 + x * x))
sinh: _Op = _unary("sinh", "y = sinh x; dy/dx = cosh x.", lambda g, x, y: g * cosh(x))
cosh: _Op = _unary("cosh", "y = cosh x; dy/dx = sinh x.", lambda g, x, y: g * sinh(x))
tanh: _Op = _unary("tanh", "y = tanh x; dy/dx = 1 - y².", lambda g, x, y: g * (1 - y * y))
erf: _Op = _unary("erf", "y = 2/√π ∫₀ˣ e^(-t²) dt; dy/dx = 2/√π·e^(-x²).",
             lambda g, x, y: g * (2 / _root(pi)) * exp(-x * x))
# fmt: on


def add(a: ArrayLike, b: ArrayLike) -> Tensor:
    """y = a + b; dy/da = dy/db = 1."""
    a, b, xp = operands("add", a, b)
    value = in_chunks(xp.add, a.data, b.data)
    return record(value, (a, lambda g, y: g), (b, lambda g, y: g), name="add")


def subtract(a: ArrayLike, b: ArrayLike) -> Tensor:
    """y = a - b; dy/da = 1, dy/db = -1."""
    a, b, xp = operands("subtract", a, b)
    value = xp.subtract(a.data, b.data)
    return record(value, (a, lambda g, y: g), (b, lambda g, y: -g), name="subtract")


def multiply(a: ArrayLike, b: ArrayLike) -> Tensor:
    """y = a·b; dy/da = b, dy/db = a."""
    a, b, xp = operands("multiply", a, b)
    value = xp.multiply(a.data, b.data)
    return record(value, (a, lambda g, y: g * b), (b, lambda g, y: g * a), name="multiply")


def divide(a: ArrayLike, b: ArrayLike) -> Tensor:
    """y = a / b; dy/da = 1/b, dy/db = -y/b."""
    a, b, xp = operands("divide", a, b)
    a, b = floating(a)[0], floating(b)[0]
    value = xp.divide(a.data, b.data)
    return record(value, (a, lambda g, y: g / b), (b, lambda g, y: -g * y / b), name="divide")


def power(a: ArrayLike, b: ArrayLike) -> Tensor:
    """y = aᵇ; dy/da = b·aᵇ⁻¹ (0 where b = 0), dy/db = y·ln a.

    dy/db is 0 where a = 0 and b >= 0, and NaN where a < 0.
    """
    a, b, xp = operands("power", a, b)

    def by_base(g: Tensor, y: Tensor) -> Tensor:
        return g * b * a ** (where(b.data == 0, 1.0, b) - 1)

    def by_exponent(g: Tensor, y: Tensor) -> Tensor:
        return g * y * log(where((a.data == 0) & (b.data >= 0), 1.0, a))

    return record(xp.power(a.data, b.data), (a, by_base), (b, by_exponent), name="power")


def negative(x: ArrayLike) -> Tensor:
    """y = -x; dy/dx = -1."""
    x = as_tensor(x)
    return record(-x.data, (x, lambda g, y: -g), name="negative")


def abs(x: ArrayLike) -> Tensor:
    """y = |x|; dy/dx = sign x, which is 0 at 0."""
    x = as_tensor(x)
    xp = x._module
    return record(xp.abs(x.data), (x, lambda g, y: g * Tensor(xp.sign(x.data))), name="abs")


def square(x: ArrayLike) -> Tensor:
    """y = x²; dy/dx = 2x."""
    x = as_tensor(x)
    return record(x._module.square(x.data), (x, lambda g, y: 2 * g * x), name="square")


def keep_where(g: Tensor, mask: Array, name: str = "where") -> Tensor:
    """y = g where the mask holds, else 0; dy/dg = 1 where the mask holds, else 0.

    Numerics: y is 0 even where g is infinite or NaN. A product with the mask would give NaN there.
    name: the name under which the operation is recorded.
    """
    value = masks.keep_where(g.data, mask)
    return record(value, (g, lambda h, y: keep_where(h, mask)), name=name)


def through_relu(g: Tensor, y: Tensor, rectify: bool) -> Tensor:
    """The gradient by what y is relu of: g where y > 0, else 0. g itself if not `rectify`."""
    return keep_where(g, y.data > 0) if rectify else g


def clip(x: ArrayLike, low: ArrayLike | None = None, high: ArrayLike | None = None) -> Tensor:
    """y = x kept within [low, high]; dy/dx = 1 on the closed interval, else 0.

    low, high: numbers, or arrays that broadcast to x; no gradient flows to them.
    Raises: ConfigError where low > high (for numbers); ShapeError where one does not broadcast.
    """
    x = as_tensor(x)
    low, high = bound("clip", x, low, -inf), bound("clip", x, high, inf)
    if isinstance(low, int | float) and isinstance(high, int | float) and not low <= high:
        raise ConfigError(f"clip: expected low <= high, got [{low}, {high}]")
    inside = (x.data >= low) & (x.data <= high)
    value = x._module.clip(x.data, low, high)
    return record(value, (x, lambda g, y: keep_where(g, inside)), name="clip")


def maximum(a: ArrayLike, b: ArrayLike) -> Tensor:
    """y = max(a, b); g goes to the larger one, and half of it to each where they are equal."""
    return _chosen("maximum", a, b)


def minimum(a: ArrayLike, b: ArrayLike) -> Tensor:
    """y = min(a, b); g goes to the smaller one, and half of it to each where they are equal."""
    return _chosen("minimum", a, b)


def _chosen(name: str, a: ArrayLike, b: ArrayLike) -> Tensor:
    """`maximum` or `minimum`, by name."""
    a, b, xp = operands(name, a, b)
    tie = a.data == b.data
    return record(
        getattr(xp, name)(a.data, b.data),
        (a, lambda g, y: keep_where(where(tie, g * 0.5, g), a.data == y.data)),
        (b, lambda g, y: keep_where(where(tie, g * 0.5, g), b.data == y.data)),
        name=name,
    )


def where(condition: ArrayLike, a: ArrayLike, b: ArrayLike) -> Tensor:
    """y = a where the condition holds, else b; g goes to the chosen one, 0 to the other."""
    holds, a, b, xp = chosen("where", condition, a, b)
    return record(
        xp.where(holds, a.data, b.data),
        (a, lambda g, y: keep_where(g, holds)),
        (b, lambda g, y: keep_where(g, ~holds)),
        name="where",
    )
