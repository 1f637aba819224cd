"""What every operation does to its arguments first."""

from typing import Any

import numpy as np

from ..device import FLOAT
from ..errors import DeviceError, DTypeError, ShapeError
from ..tensor import ArrayLike, Tensor, as_tensor


def floating(x: ArrayLike) -> tuple[Tensor, Any]:
    """x as a floating-point tensor (integers become float32), and its array module."""
    x = as_tensor(x)
    if x.dtype.kind not in "fc":
        x = Tensor(x.data.astype(FLOAT))
    return x, x._module


def operands(
    call: str, a: ArrayLike, b: ArrayLike, broadcast: bool = True
) -> tuple[Tensor, Tensor, Any]:
    """Two tensors on one device, which broadcast unless they need not, and their array module."""
    if not isinstance(a, Tensor) and isinstance(b, Tensor):
        b, a = as_tensor(b), as_tensor(a, like=b)
    else:
        a = as_tensor(a)
        b = as_tensor(b, like=a)
    same_device(call, a, b)
    a, b = integers_follow(a, b), integers_follow(b, a)
    if broadcast and a.shape != b.shape:
        try:
            np.broadcast_shapes(a.shape, b.shape)
        except ValueError:
            raise ShapeError(
                f"{call}: expected shapes that broadcast (equal or 1, aligned from the right), "
                f"got {a.shape} and {b.shape}"
            ) from None
    return a, b, a._module


def integers_follow(x: Tensor, other: Tensor) -> Tensor:
    """x in other's dtype where x holds integers and other does not: they never promote it."""
    mixed = x.data.dtype.kind in "iub" and other.data.dtype.kind in "fc"
    return Tensor(x.data.astype(other.dtype)) if mixed else x


def same_device(call: str, *tensors: Tensor) -> None:
    """Raise DeviceError unless all tensors lie on one device."""
    devices = [t.device for t in tensors]
    if len(set(devices)) > 1:
        raise DeviceError(
            f"{call}: expected tensors on one device, got {' and '.join(devices)}; "
            "move them with .to(device)"
        )


def same_shape(call: str, a: ArrayLike, b: ArrayLike) -> tuple[Tensor, Tensor]:
    """Two floating-point tensors of equal shapes: a loss broadcasts nothing."""
    a, b, _ = operands(call, a, b)
    if a.shape != b.shape:
        raise ShapeError(f"{call}: expected equal shapes, got {a.shape} and {b.shape}")
    return floating(a)[0], floating(b)[0]


def axes_of(call: str, x: Tensor, axis: Any) -> tuple[int, ...]:
    """axis (None: all, an int or a tuple of ints) as distinct non-negative ints, in order."""
    ndim = x.data.ndim
    if axis is None:
        return tuple(range(ndim))
    axes = []
    for i in axis if isinstance(axis, tuple | list) else (axis,):
        if type(i) is not int and not isinstance(i, np.integer):  # a bool is an int too
            raise DTypeError(f"{call}: expected an axis that is an int, got {i!r}")
        if not -ndim <= i < ndim:
            raise ShapeError(f"{call}: axis {i} is outside the {ndim} axes of shape {x.shape}")
        axes.append(int(i) % ndim)
    if len(set(axes)) != len(axes):
        raise ShapeError(f"{call}: an axis is named twice in {axis}")
    return tuple(axes)


def ints(args: tuple[Any, ...]) -> tuple[int, ...]:
    """A shape or axes given as one tuple or as separate ints."""
    return tuple(args[0]) if len(args) == 1 and isinstance(args[0], tuple | list) else args
