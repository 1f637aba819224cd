"""Operations that normalise along axes: the output's sum or scale is fixed."""

from ..backend import Array
from ..errors import ShapeError
from ..graph import is_recording, record
from ..tensor import ArrayLike, Tensor
from .elementwise import exp
from .inputs import axes_of, floating
from .reduce import Axis, mean, sum, var


def softmax(x: ArrayLike, axis: int = -1) -> Tensor:
    """y = eˣ / Σ eˣ along an axis; dL/dx = y·(g - Σ g·y).

    Numerics: the largest x is subtracted first, so e never overflows.
    """
    x, xp = floating(x)
    (axis,) = axes_of("softmax", x, axis)
    powers = xp.exp(x.data - x.data.max(axis, keepdims=True)) if x.size else x.data
    return record(
        powers / powers.sum(axis, keepdims=True),
        (x, lambda g, y: y * (g - sum(g * y, axis, keepdims=True))),
    )


def log_softmax(x: ArrayLike, axis: int = -1) -> Tensor:
    """y = x - ln Σ eˣ along an axis; dL/dx = g - eʸ·Σ g.

    Numerics: finite wherever x is, also where softmax underflows to 0.
    """
    x, xp = floating(x)
    (axis,) = axes_of("log_softmax", x, axis)
    value = x.data - x.data.max(axis, keepdims=True) if x.size else x.data
    if x.size:
        value = value - xp.log(xp.exp(value).sum(axis, keepdims=True))
    return record(
        value,
        (x, lambda g, y: g - exp(y) * sum(g, axis, keepdims=True)),
    )


def standardize(x: ArrayLike, axis: Axis = None, eps: float = 1e-5) -> Tensor:
    """y = (x - mean)/√(var + ε) along axes; dL/dx = (g - mean g - y·mean(g·y))/√(var + ε)."""
    return standardize_with_moments(x, axis, eps)[0]


def standardize_with_moments(x: ArrayLike, axis: Axis, eps: float) -> tuple[Tensor, Array, Array]:
    """The standardized x, and the mean and variance that it had (with axes of length 1)."""
    x, xp = floating(x)
    axes = axes_of("standardize", x, axis)
    if not x.size:
        raise ShapeError(f"standardize: expected elements along axis {axis}, got shape {x.shape}")
    centre = x.data.mean(axes, keepdims=True)
    value = x.data - centre
    variance = xp.square(value).mean(axes, keepdims=True)
    scale = xp.sqrt(variance + eps)
    value /= scale

    def pullback(g: Tensor, y: Tensor) -> Tensor:
        # A derivative of the derivative must see that the scale depends on x.
        s = (var(x, axes, keepdims=True) + eps).sqrt() if is_recording() else Tensor(scale)
        return (g - mean(g, axes, keepdims=True) - y * mean(g * y, axes, keepdims=True)) / s

    return record(value, (x, pullback), name="standardize"), centre, variance
