"""Operations in which axes vanish. axis is None (all axes), an int or a tuple of ints.

Shapes: the input's without the named axes, or with 1 in their place where keepdims is True.
"""

import math
from typing import Any

from ..errors import ShapeError
from ..tensor import ArrayLike, Tensor, as_tensor, record
from .elementwise import exp, keep_where, where
from .inputs import axes_of, floating
from .shape import broadcast_to, flip, reshape

Axis = int | tuple[int, ...] | None


def _kept(x: Tensor, axes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(1 if i in axes else n for i, n in enumerate(x.shape))


def _rest(x: Tensor, axes: tuple[int, ...], keepdims: bool) -> tuple[int, ...]:
    return tuple(n for i, n in enumerate(_kept(x, axes)) if keepdims or i not in axes)


def _count(x: Tensor, axes: tuple[int, ...]) -> int:
    return math.prod(x.shape[i] for i in axes)


def sum(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """y = Σ x; dy/dx = 1, so g is spread over the axes that vanished."""
    x = as_tensor(x)
    axes = axes_of("sum", x, axis)
    kept = _kept(x, axes)
    value = x.data.sum(axes, keepdims=keepdims)
    return record(value, (x, lambda g, y: broadcast_to(reshape(g, kept), x.shape)))


def mean(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """y = Σ x / n; dy/dx = 1/n. NaN where n = 0."""
    x, _ = floating(x)
    n = _count(x, axes_of("mean", x, axis))
    return sum(x, axis, keepdims) * (1 / n if n else float("nan"))


def var(x: ArrayLike, axis: Axis = None, ddof: int = 0, keepdims: bool = False) -> Tensor:
    """y = Σ (x - mean)² / (n - ddof); dy/dx = 2(x - mean)/(n - ddof)."""
    x, _ = floating(x)
    n = _count(x, axes_of("var", x, axis))
    if n <= ddof:
        raise ShapeError(f"var: expected more than {ddof} elements along {axis}, got {x.shape}")
    centred = x - mean(x, axis, keepdims=True)
    return sum(centred * centred, axis, keepdims) * (1 / (n - ddof))


def std(x: ArrayLike, axis: Axis = None, ddof: int = 0, keepdims: bool = False) -> Tensor:
    """y = √var; dy/dx = (x - mean)/((n - ddof)·y), undefined where y = 0."""
    return var(x, axis, ddof, keepdims).sqrt()


def max(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """y = the largest x; the gradient is shared equally among ties."""
    return _extreme("max", as_tensor(x), axis, keepdims)


def min(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """y = the smallest x; the gradient is shared equally among ties."""
    return _extreme("min", as_tensor(x), axis, keepdims)


def _extreme(call: str, x: Tensor, axis: Axis, keepdims: bool) -> Tensor:
    axes = axes_of(call, x, axis)
    if _count(x, axes) == 0:
        raise ShapeError(f"{call}: expected elements along axis {axis}, got shape {x.shape}")
    kept = _kept(x, axes)

    def pullback(g: Tensor, y: Tensor) -> Tensor:
        ties = x.data == y.data.reshape(kept)
        # Where x holds NaN nothing equals y: count 1 keeps that 0, not 0/0.
        shares = x._module.maximum(ties.sum(axes, keepdims=True), 1).astype(x.dtype)
        return keep_where(broadcast_to(reshape(g, kept) / Tensor(shares), x.shape), ties)

    return record(getattr(x.data, call)(axes, keepdims=keepdims), (x, pullback))


def logsumexp(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """y = ln Σ eˣ; dy/dx = e^(x - y), the softmax.

    Numerics: ln Σ e^(x - m) + m with m the largest x, so e never overflows.
    """
    x, xp = floating(x)
    axes = axes_of("logsumexp", x, axis)
    if _count(x, axes) == 0:
        raise ShapeError(f"logsumexp: expected elements along axis {axis}, got shape {x.shape}")
    kept = _kept(x, axes)
    largest = x.data.max(axes, keepdims=True)
    shift = xp.where(xp.isfinite(largest), largest, 0).astype(x.dtype)  # inf - inf is NaN
    value = xp.log(xp.exp(x.data - shift).sum(axes, keepdims=True)) + shift
    return record(
        value.reshape(_rest(x, axes, keepdims)),
        (x, lambda g, y: reshape(g, kept) * exp(x - reshape(y, kept))),
    )


def norm(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """y = √(Σ x²); dy/dx = x/y, taken as 0 where y = 0.

    Numerics: divided by the largest |x| first, so squares neither overflow nor vanish.
    """
    x, xp = floating(x)
    axes = axes_of("norm", x, axis)
    kept = _kept(x, axes)
    if _count(x, axes) == 0:
        return sum(x, axis, keepdims)
    largest = xp.abs(x.data).max(axes, keepdims=True)
    scale = xp.where((largest > 0) & xp.isfinite(largest), largest, 1).astype(x.dtype)
    value = xp.sqrt(xp.square(x.data / scale).sum(axes, keepdims=True)) * scale

    def pullback(g: Tensor, y: Tensor) -> Tensor:
        length = reshape(y, kept)
        return reshape(g, kept) * x / where(length.data == 0, 1.0, length)

    return record(value.reshape(_rest(x, axes, keepdims)), (x, pullback))


def cumsum(x: ArrayLike, axis: int) -> Tensor:
    """yᵢ = Σ xⱼ over j <= i; dL/dxⱼ = Σ gᵢ over i >= j."""
    x = as_tensor(x)
    (axis,) = axes_of("cumsum", x, axis)
    value: Any = x._module.cumsum(x.data, axis=axis, dtype=x.dtype)
    return record(value, (x, lambda g, y: flip(cumsum(flip(g, axis), axis), axis)))
