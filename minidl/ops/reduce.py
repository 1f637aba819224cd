"""Reductions: operations that make axes vanish. axis is None (all axes), an int or a tuple of ints.

Shapes: the input's without the reduced axes, or with 1 in their place where keepdims is True. n is
the number of elements that become one. All raise ShapeError for an axis that x does not have.
"""

import math
from typing import Any

import numpy as np

from .. import norms
from ..checks import axes_of, axis_of, floating, unmasked
from ..device import Array
from ..errors import ShapeError
from ..kernels.portable import add_up
from ..tensor import ArrayLike, Tensor, as_tensor, record
from .elementwise import exp, keep_where, where
from .shape import broadcast_to, flip, reshape

Axis = int | tuple[int, ...] | None


def _kept(x: Tensor, axes: tuple[int, ...]) -> tuple[int, ...]:
    """x's shape with 1 in each reduced axis."""
    return tuple(1 if i in axes else n for i, n in enumerate(x.shape))


def _count(x: Tensor, axes: tuple[int, ...]) -> int:
    return math.prod(x.shape[i] for i in axes)


def _in_dtype(value: Array, x: Tensor, axes: tuple[int, ...], keepdims: bool) -> Array:
    """`value`, with its reduced axes of length 1, in x's dtype; without them unless keepdims."""
    kept = value if keepdims else value.squeeze(axes)
    return kept.astype(x.dtype) if x.dtype.kind == "f" and kept.dtype != x.dtype else kept


def sum(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """y = Σ x; dy/dx = 1, so g is repeated along the axes that vanished.

    Numerics: more than 1,024 terms of float32 are added up in float64, float16 always in float32.
    """
    x = as_tensor(unmasked(x, axis))
    axes = axes_of("sum", x, axis)
    value = add_up(x.data, axes, keepdims)
    value = value.astype(x.dtype) if x.dtype.kind == "f" and value.dtype != x.dtype else value
    kept = _kept(x, axes)
    return record(value, (x, lambda g, y: broadcast_to(reshape(g, kept), x.shape)), name="sum")


def mean(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """y = Σ x / n; dy/dx = 1/n. NaN where n = 0. Numerics: as `sum`."""
    return mean_of("mean", x, axis, keepdims)


def mean_of(call: str, x: ArrayLike, axis: Axis, keepdims: bool) -> Tensor:
    """`mean`, recorded and named in errors as the operation `call`."""
    x, _ = floating(unmasked(x, axis))
    axes = axes_of(call, x, axis)
    kept, n = _kept(x, axes), _count(x, axes)
    share = 1 / n if n else math.nan
    value = _in_dtype(add_up(x.data, axes) * share, x, axes, keepdims)
    pullback = (x, lambda g, y: broadcast_to(reshape(g, kept) * share, x.shape))
    return record(value, pullback, name=call)


def var(x: ArrayLike, axis: Axis = None, ddof: int = 0, keepdims: bool = False) -> Tensor:
    """y = Σ (x - mean)² / (n - ddof); dy/dx = 2(x - mean)/(n - ddof).

    Numerics: the mean is subtracted before squaring, and twice, because rounding leaves a little of
    a large one. So a large constant has variance 0.
    Raises: ShapeError unless n > ddof.
    """
    x, axes, freedom, centre = _spread("var", x, axis, ddof)
    value = _in_dtype(add_up(x._module.square(centre), axes) / freedom, x, axes, keepdims)

    def pullback(g: Tensor, y: Tensor) -> Tensor:
        return reshape(g, _kept(x, axes)) * (2 / freedom) * (x - mean(x, axes, keepdims=True))

    return record(value, (x, pullback), name="var")


def std(x: ArrayLike, axis: Axis = None, ddof: int = 0, keepdims: bool = False) -> Tensor:
    """y = √var; dy/dx = (x - mean)/((n - ddof)·y), NaN where y = 0.

    Numerics and errors are those of `var`; but squares neither overflow nor vanish, as in `norm`.
    """
    x, axes, freedom, centre = _spread("std", x, axis, ddof)
    if centre.dtype.kind == "c":  # √Σ(x - mean)², and no modulus: for complex-step derivatives
        length = x._module.sqrt(add_up(x._module.square(centre), axes))
    else:
        length = norms.l2(centre, axes, keepdims=True)
    value = _in_dtype(length / math.sqrt(freedom), x, axes, keepdims)

    def pullback(g: Tensor, y: Tensor) -> Tensor:
        kept = _kept(x, axes)
        return reshape(g, kept) / freedom * ((x - mean(x, axes, keepdims=True)) / reshape(y, kept))

    return record(value, (x, pullback), name="std")


def _spread(call: str, x: ArrayLike, axis: Axis, ddof: int) -> tuple[Any, ...]:
    """For var and std: x, its axes, n - ddof, and the array x - mean."""
    x, _ = floating(unmasked(x, axis))
    axes = axes_of(call, x, axis)
    n = _count(x, axes)
    if n <= ddof:
        raise ShapeError(f"{call}: expected more than {ddof} elements along {axis}, got {x.shape}")
    data = x.data.astype(np.float32) if x.dtype.itemsize == 2 else x.data  # squares overflow
    centre = data - (add_up(data, axes) / n).astype(data.dtype)
    centre -= (add_up(centre, axes) / n).astype(data.dtype)
    return x, axes, n - ddof, centre


def max(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """y = the largest x; g is shared equally among all x that equal y, the others get 0.

    Numerics: with a NaN among the x, y is NaN and every gradient 0.
    Raises: ShapeError where there are no elements.
    """
    return _extreme("max", as_tensor(unmasked(x, axis)), axis, keepdims)


def min(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """y = the smallest x; g is shared equally among all x that equal y, the others get 0.

    Numerics: with a NaN among the x, y is NaN and every gradient 0.
    Raises: ShapeError where there are no elements.
    """
    return _extreme("min", as_tensor(unmasked(x, axis)), axis, keepdims)


def _extreme(call: str, x: Tensor, axis: Axis, keepdims: bool) -> Tensor:
    axes = axes_of(call, x, axis)
    if _count(x, axes) == 0:
        raise ShapeError(f"{call}: expected elements along axis {axis}, got shape {x.shape}")
    kept = _kept(x, axes)

    def pullback(g: Tensor, y: Tensor) -> Tensor:
        ties = x.data == y.data.reshape(kept)
        # If x holds NaN, no x equals y. Dividing by 1 then keeps the gradient 0; 0/0 would be NaN.
        shares = x._module.maximum(ties.sum(axes, keepdims=True), 1)
        shares = shares.astype(np.promote_types(x.dtype, np.float32))  # float16 ends at 65,504
        return keep_where(broadcast_to(reshape(g, kept) / Tensor(shares), x.shape), ties)

    return record(getattr(x.data, call)(axes, keepdims=keepdims), (x, pullback), name=call)


def logsumexp(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """y = ln Σ eˣ; dy/dx = e^(x - y), the softmax.

    Numerics: computed as m + ln Σ e^(x - m), m the largest x, because e^x would overflow.
    Raises: ShapeError where there are no elements.
    """
    x, xp = floating(unmasked(x, axis))
    axes = axes_of("logsumexp", x, axis)
    if _count(x, axes) == 0:
        raise ShapeError(f"logsumexp: expected elements along axis {axis}, got shape {x.shape}")
    kept = _kept(x, axes)
    largest = x.data.max(axes, keepdims=True)
    shift = xp.where(xp.isfinite(largest), largest, 0).astype(x.dtype)  # inf - inf is NaN
    value = xp.log(add_up(xp.exp(x.data - shift), axes)) + shift
    return record(
        _in_dtype(value, x, axes, keepdims),
        (x, lambda g, y: reshape(g, kept) * exp(x - reshape(y, kept))),
        name="logsumexp",
    )


def norm(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """y = √(Σ x²); dy/dx = x/y, taken as 0 where y = 0.

    Numerics: x is divided by its largest |x| first, so that squares neither overflow nor vanish.
    """
    x, _ = floating(unmasked(x, axis))
    axes = axes_of("norm", x, axis)
    kept = _kept(x, axes)
    value = _in_dtype(norms.l2(x.data, axes, keepdims=True), x, axes, keepdims)

    def pullback(g: Tensor, y: Tensor) -> Tensor:
        length = reshape(y, kept)
        none = length.data == 0
        return reshape(g, kept) * where(none, 0.0, x / where(none, 1.0, length))

    return record(value, (x, pullback), name="norm")


def cumsum(x: ArrayLike, axis: int) -> Tensor:
    """The running sum: yᵢ = Σ xⱼ over j <= i; dL/dxⱼ = Σ gᵢ over i >= j.

    Shapes: y as x. Numerics: float32 is added up in float64, float16 in float32.
    """
    x = as_tensor(x)
    axis = axis_of("cumsum", x, axis)
    wide = {2: np.float32, 4: np.float64}.get(x.dtype.itemsize) if x.dtype.kind == "f" else None
    value: Any = x._module.cumsum(x.data, axis=axis, dtype=wide)
    value = value.astype(x.dtype) if wide else value
    back = (x, lambda g, y: flip(cumsum(flip(g, axis), axis), axis))
    return record(value, back, name="cumsum")
