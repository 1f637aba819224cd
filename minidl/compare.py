"""Questions about values: comparisons, masks and indices. No gradient flows through the answers."""

from collections.abc import Callable
from typing import Any

from .checks import axis_of, operands
from .errors import ShapeError
from .tensor import ArrayLike, Tensor, as_tensor


def comparison(symbol: str) -> Callable[[Tensor, ArrayLike], Any]:
    """The method for an operator, as NumPy has it: `__lt__`, ...; of masks `__and__`, ..."""

    def compare(self: Tensor, other: ArrayLike) -> Any:
        if other is None:  # `x == None` is False, as for any object that is not None
            return NotImplemented
        a, b, _ = operands(symbol, self, as_tensor(other, like=self))
        return Tensor(getattr(a.data, symbol)(b.data))

    compare.__name__ = symbol
    return compare


def invert(x: Tensor) -> Tensor:
    """~x: the opposite of a mask, elementwise."""
    return Tensor(~x.data)


def argmax(x: ArrayLike, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """The index of the largest x along an axis; of equals, the first. axis=None: in flattened x.

    Raises: ShapeError where there are no elements.
    """
    return _place("argmax", x, axis, keepdims)


def argmin(x: ArrayLike, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """The index of the smallest x along an axis; of equals, the first. axis=None: in flattened x.

    Raises: ShapeError where there are no elements.
    """
    return _place("argmin", x, axis, keepdims)


def _place(call: str, x: ArrayLike, axis: int | None, keepdims: bool) -> Tensor:
    x = as_tensor(x)
    if axis is not None:
        axis = axis_of(call, x, axis)
    if not x.size:
        raise ShapeError(f"{call}: expected elements along axis {axis}, got shape {x.shape}")
    return Tensor(getattr(x._module, call)(x.data, axis=axis, keepdims=keepdims))
