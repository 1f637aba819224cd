"""Operations that normalise along axes: the output's sum or scale is fixed."""

from .. import kernels
from ..device import Array
from ..errors import ShapeError
from ..modes import is_recording
from ..tensor import ArrayLike, Pullback, Tensor, record
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
    return record(value, (x, lambda g, y: g - exp(y) * sum(g, axis, keepdims=True)))


def standardize(x: ArrayLike, axis: Axis = None, eps: float = 1e-5) -> Tensor:
    """y = (x - mean)/√(var + ε) along axes; dL/dx = (g - mean g - y·mean(g·y))/√(var + ε)."""
    x, xp = floating(x)
    axes = axes_of("standardize", x, axis)
    if not x.size:
        raise ShapeError(f"standardize: expected elements along axis {axis}, got shape {x.shape}")
    value = x.data - x.data.mean(axes, keepdims=True)
    scale = xp.sqrt(xp.square(value).mean(axes, keepdims=True) + eps)
    value /= scale

    def pullback(g: Tensor, y: Tensor) -> Tensor:
        # A derivative of the derivative must see that the scale depends on x.
        s = (var(x, axes, keepdims=True) + eps).sqrt() if is_recording() else Tensor(scale)
        return (g - mean(g, axes, keepdims=True) - y * mean(g * y, axes, keepdims=True)) / s

    return record(value, (x, pullback))


def batch_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Array, Array]:
    """y = standardize(x)·weight + bias by channel, and the mean and variance that x had.

    Shapes: x (N, C, H, W); weight, bias, mean, variance (C,).
    Gradient: dL/dbias = Σ g, dL/dweight = Σ g·x̂, dL/dx = that of standardize at g·weight.
    """
    x, xp = floating(x)
    average, variance = kernels.batch_norm.moments(x.data)
    inverse = 1 / xp.sqrt(variance + eps)
    y = kernels.batch_norm.affine(x.data, average, weight.data * inverse, bias.data)
    left: dict[int, Array] = {}  # gradients that were computed together and not asked for yet

    def pullback(i: int) -> Pullback:
        def pull(g: Tensor, y: Tensor) -> Tensor:
            if is_recording():
                return _batch_norm_grads(g, x, weight, eps)[i]
            if i not in left:
                found = kernels.batch_norm.gradients(g.data, x.data, weight.data, average, inverse)
                left.update(enumerate(found))
            return Tensor(left.pop(i))

        return pull

    inputs = ((t, pullback(i)) for i, t in enumerate((x, weight, bias)))
    return record(y, *inputs, name="batch_norm"), average, variance


def _batch_norm_grads(g: Tensor, x: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, ...]:
    """The same in Tensor operations, for the derivative of the derivative."""
    axes = (0, 2, 3)
    deviation = (var(x, axes, keepdims=True) + eps).sqrt()
    y, h = (x - mean(x, axes, keepdims=True)) / deviation, g * weight.reshape(1, -1, 1, 1)
    by_x = (h - mean(h, axes, keepdims=True) - y * mean(h * y, axes, keepdims=True)) / deviation
    return by_x, sum(g * y, axes), sum(g, axes)
