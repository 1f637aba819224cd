"""Operations that move the same values to other places: each pullback moves g back.

All raise ShapeError where a shape, an axis or an index does not fit x.
"""

import copy
import math
from typing import Any

import numpy as np

from ..checks import all_follow, axes_of, axis_of, borders, check, held, ints, same_device
from ..device import is_host, to_device
from ..errors import DTypeError, ShapeError
from ..tensor import ArrayLike, Tensor, as_tensor, record
from .elementwise import keep_where


def astype(x: ArrayLike, dtype: Any) -> Tensor:
    """x in another dtype; g is converted back to x's. No gradient flows through an integer dtype.

    Raises: DTypeError for a dtype that is not numeric.
    """
    x = as_tensor(x)
    if dtype is None or np.dtype(dtype).kind not in "fiubc":
        raise DTypeError(f"astype: expected a numeric dtype, got {dtype!r}")
    return record(x.data.astype(dtype), (x, lambda g, y: astype(g, x.dtype)), name="astype")


def reshape(x: ArrayLike, *shape: Any) -> Tensor:
    """The same values, in order, in another shape; one length may be -1."""
    x = as_tensor(x)
    try:
        return _reshaped("reshape", x, ints(shape))
    except (ValueError, TypeError):
        raise ShapeError(
            f"reshape: expected a shape of {x.size} elements, got {ints(shape)} for {x.shape}"
        ) from None


def _reshaped(call: str, x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The same values in another shape; the pullback gives g the shape of x."""
    value = x.data.reshape(shape)
    return record(value, (x, lambda g, y: _reshaped("reshape", g, x.shape)), name=call)


def flatten(x: ArrayLike, start: int = 0) -> Tensor:
    """The axes from `start` on joined into one: (N, C, H, W) with start=1 gives (N, C·H·W)."""
    x = as_tensor(x)
    start = axis_of("flatten", x, start) if x.ndim else 0
    return _reshaped("flatten", x, (*x.shape[:start], math.prod(x.shape[start:])))


def expand_dims(x: ArrayLike, axis: int) -> Tensor:
    """A new axis of length 1 at `axis`."""
    x = as_tensor(x)
    if not isinstance(axis, int | np.integer) or not -x.ndim - 1 <= axis <= x.ndim:
        raise ShapeError(f"expand_dims: axis {axis} is outside shape {x.shape} with one axis more")
    at = axis % (x.ndim + 1)
    return _reshaped("expand_dims", x, (*x.shape[:at], 1, *x.shape[at:]))


def squeeze(x: ArrayLike, axis: Any = None) -> Tensor:
    """Axes of length 1 taken out: all of them, or those named."""
    x = as_tensor(x)
    named = axes_of("squeeze", x, axis)
    if axis is not None and any(x.shape[i] != 1 for i in named):
        raise ShapeError(f"squeeze: expected length 1 along axis {axis}, got shape {x.shape}")
    left = tuple(n for i, n in enumerate(x.shape) if n != 1 or i not in named)
    return _reshaped("squeeze", x, left)


def transpose(x: ArrayLike, *axes: Any) -> Tensor:
    """The axes in another order, reversed by default."""
    x = as_tensor(x)
    if not axes or axes[0] is None:
        return _reordered("transpose", x, list(range(x.ndim))[::-1])
    order = axes_of("transpose", x, ints(axes))
    if len(order) != x.ndim:
        raise ShapeError(f"transpose: expected all {x.ndim} axes of {x.shape}, got {order}")
    return _reordered("transpose", x, list(order))


def _reordered(call: str, x: Tensor, order: list[int]) -> Tensor:
    """The axes in this order; the pullback puts g's axes back in x's order."""
    back = sorted(range(x.ndim), key=order.__getitem__)
    pullback = (x, lambda g, y: _reordered("transpose", g, back))
    return record(x.data.transpose(order), pullback, name=call)


def moveaxis(x: ArrayLike, source: int, destination: int) -> Tensor:
    """One axis moved to another place, the others in their order."""
    x = as_tensor(x)
    here, there = axis_of("moveaxis", x, source), axis_of("moveaxis", x, destination)
    order = [i for i in range(x.ndim) if i != here]
    order.insert(there, here)
    return _reordered("moveaxis", x, order)


def swapaxes(x: ArrayLike, first: int, second: int) -> Tensor:
    """Two axes exchanged."""
    x = as_tensor(x)
    i, j = axis_of("swapaxes", x, first), axis_of("swapaxes", x, second)
    order = list(range(x.ndim))
    order[i], order[j] = j, i
    return _reordered("swapaxes", x, order)


def broadcast_to(x: ArrayLike, *shape: Any) -> Tensor:
    """x repeated along new axes and axes of length 1, as a view; dL/dx is g summed along them."""
    x = as_tensor(x)
    try:
        value = x._module.broadcast_to(x.data, ints(shape))
    except (ValueError, TypeError):
        raise ShapeError(f"broadcast_to: {x.shape} does not broadcast to {ints(shape)}") from None
    # The engine sums g back to x's shape.
    return record(value, (x, lambda g, y: g), name="broadcast_to")


def pad(x: ArrayLike, widths: Any, value: float = 0.0) -> Tensor:
    """x with a border of `value`; dL/dx is g without the border.

    widths: an int for all sides, or one int or (before, after) pair per axis.
    """
    x = as_tensor(x)
    pairs = borders("pad", x, widths)
    inside = tuple(slice(b, b + n) for (b, _), n in zip(pairs, x.shape, strict=True))
    value = held("pad", x.dtype, value=value)
    padded = x._module.pad(x.data, pairs or 0, constant_values=value)
    return record(padded, (x, lambda g, y: getitem(g, inside)), name="pad")


def flip(x: ArrayLike, axis: Any = None) -> Tensor:
    """The order along the axes reversed; axis=None reverses all of them."""
    x = as_tensor(x)
    axes = axes_of("flip", x, axis)
    value = x._module.flip(x.data, axes)
    return record(value, (x, lambda g, y: flip(g, axes)), name="flip")


def roll(x: ArrayLike, shift: int, axis: int) -> Tensor:
    """The values moved along an axis by `shift`, the last ones re-entering at the front."""
    x = as_tensor(x)
    axis = axis_of("roll", x, axis)
    check("roll", "an int", shift=shift)
    value = x._module.roll(x.data, shift, axis)
    return record(value, (x, lambda g, y: roll(g, -shift, axis)), name="roll")


def tril(x: ArrayLike, k: int = 0) -> Tensor:
    """The lower triangle of the last two axes, up to the k-th diagonal; 0 above."""
    return _triangle("tril", x, k)


def triu(x: ArrayLike, k: int = 0) -> Tensor:
    """The upper triangle of the last two axes, from the k-th diagonal on; 0 below."""
    return _triangle("triu", x, k)


def _triangle(call: str, x: ArrayLike, k: int) -> Tensor:
    x = as_tensor(x)
    check(call, "an int", k=k)
    if x.ndim < 2:
        raise ShapeError(f"{call}: expected at least 2 axes, got shape {x.shape}")
    xp = x._module
    kept = getattr(xp, call)(xp.ones(x.shape[-2:], dtype=bool), k)
    return keep_where(x, kept, name=call)


def concatenate(tensors: Any, axis: int = 0) -> Tensor:
    """Tensors joined along an axis that they have; each gets its own part of g."""
    parts = _all("concatenate", tensors)
    axis = axis_of("concatenate", parts[0], axis)
    try:
        value = parts[0]._module.concatenate([t.data for t in parts], axis)
    except ValueError:
        raise ShapeError(
            f"concatenate: expected shapes equal but for axis {axis}, got "
            f"{[t.shape for t in parts]}"
        ) from None

    def part(start: int, stop: int) -> Any:
        index = (*[slice(None)] * axis, slice(start, stop))
        return lambda g, y: getitem(g, index)

    ends = np.cumsum([t.shape[axis] for t in parts]).tolist()
    pullbacks = map(part, [0, *ends], ends)
    return record(value, *zip(parts, pullbacks, strict=True), name="concatenate")


def stack(tensors: Any, axis: int = 0) -> Tensor:
    """Tensors of one shape joined along a new axis; tensor i gets g at index i of that axis."""
    parts = _all("stack", tensors)
    if len({t.shape for t in parts}) > 1:
        raise ShapeError(f"stack: expected equal shapes, got {[t.shape for t in parts]}")
    ndim = parts[0].ndim + 1
    check("stack", "an int", axis=axis)
    if not -ndim <= axis < ndim:
        raise ShapeError(f"stack: axis {axis} is outside the {ndim} axes of the result")
    before = [slice(None)] * (axis % ndim)

    def layer(i: int) -> Any:
        return lambda g, y: getitem(g, (*before, i))

    value = parts[0]._module.stack([t.data for t in parts], axis)
    return record(value, *((t, layer(i)) for i, t in enumerate(parts)), name="stack")


def _all(call: str, tensors: Any) -> list[Tensor]:
    """At least one tensor, all on one device."""
    parts = [as_tensor(t) for t in tensors]
    if not parts:
        raise ShapeError(f"{call}: expected at least one tensor, got none")
    same_device(call, *parts)
    return all_follow(*parts)


def getitem(x: ArrayLike, index: Any) -> Tensor:
    """x[index]: slices, ints, None, ..., integer and boolean arrays, as in NumPy.

    Gradient: g is added to zeros at `index`. A value that was taken twice gets the sum of both.
    """
    x = as_tensor(x)
    items = index if isinstance(index, tuple) else (index,)
    items = copy.deepcopy(tuple(i.data if isinstance(i, Tensor) else i for i in items))
    index = tuple(to_device(i, x.device) if is_host(i) else i for i in items)
    try:
        value = x.data[index]
    except (IndexError, ValueError, TypeError) as error:  # ValueError: CuPy's for a string
        raise ShapeError(f"getitem: {error} (shape {x.shape})") from None
    return record(value, (x, lambda g, y: _put(g, index, x.shape)), name="getitem")


def _put(g: Tensor, index: tuple[Any, ...], shape: tuple[int, ...]) -> Tensor:
    """Zeros of `shape` with g added at `index`: the transpose of getitem."""
    xp = g._module
    value = xp.zeros(shape, dtype=g.dtype)
    if all(i is None or i is ... or isinstance(i, slice | int) for i in index):
        value[index] = g.data
    else:
        xp.add.at(value, index, g.data)
    return record(value, (g, lambda h, y: getitem(h, index)), name="put")
