"""Operations that normalise along axes: the output's sum or scale is fixed."""

from ..graph import record
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
    x, xp = floating(x)
    scale = (var(x, axis, keepdims=True) + eps).sqrt()
    centred = x.data - mean(x, axis, keepdims=True).data
    return record(
        xp.divide(centred, scale.data),
        (
            x,
            lambda g, y: (
                (g - mean(g, axis, keepdims=True) - y * mean(g * y, axis, keepdims=True)) / scale
            ),
        ),
    )
