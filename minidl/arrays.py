"""What may become a tensor: numbers, lists of them, and the arrays of NumPy and other libraries."""

import sys
from typing import Any

import numpy as np

from .device import Array, cupy
from .errors import DTypeError, GradientError, ShapeError

CUDA = 2  # kDLCUDA in dlpack.h


def as_array(call: str, x: Any) -> Array:
    """x as a NumPy or CuPy array of numbers; such an array is returned as it is, without a copy.

    Raises: DTypeError for what holds no numbers, and for masked arrays, whose masked values would
    count as numbers; ShapeError for lists of unequal length; GradientError for a list of tensors
    that need a gradient, because an array would drop their history.
    """
    given, kind = x, type(x)
    if kind is not np.ndarray and not _is_cupys(x):
        if is_masked(x):
            raise DTypeError(
                f"{call}: expected an array without a mask, got a masked array of shape {x.shape}; "
                "say which value the masked places have: x.filled(0)"
            )
        if isinstance(x, list | tuple) and _holds_gradients(x):
            raise GradientError(
                f"{call}: a list of tensors that need a gradient would lose it; join them with "
                "md.ops.stack(list) or md.ops.concatenate(list)"
            )
        x = _read(call, x)
    if x.dtype.kind not in "fiubc":
        advice = "; make it dense: x.toarray()" if hasattr(given, "toarray") else ""
        raise DTypeError(
            f"{call}: expected numbers, got dtype {x.dtype}, a {kind.__name__}{advice}"
        )
    return x


def is_masked(x: Any) -> bool:
    """Whether x is a masked array of NumPy. NumPy loads their module only if somebody uses them."""
    module = sys.modules.get("numpy.ma")
    return module is not None and isinstance(x, getattr(module, "MaskedArray", ()))


def from_dlpack(source: Any) -> Array:
    """The array that shares the memory of any object with `__dlpack__` (torch, jax, cupy, ...).

    Raises: DTypeError for an object whose memory cannot be shared.
    """
    try:
        kind, _ = source.__dlpack_device__()
        return (cupy() if kind == CUDA else np).from_dlpack(source)
    except (AttributeError, BufferError, RuntimeError) as error:
        raise DTypeError(f"from_dlpack: cannot share {type(source).__name__}: {error}") from None


def _is_cupys(x: Any) -> bool:
    """Whether x is a CuPy array. CuPy is not imported for this."""
    return isinstance(x, getattr(sys.modules.get("cupy"), "ndarray", ()))


def _holds_gradients(x: Any) -> bool:
    """Whether a tensor that needs a gradient stands somewhere in nested lists."""
    if isinstance(x, list | tuple):
        kinds = set(map(type, x)) - {float, int, bool}
        return bool(kinds) and any(map(_holds_gradients, x))
    return bool(getattr(x, "requires_grad", False))


def _read(call: str, x: Any) -> Array:
    """Another library's array, a list or a number as an array."""
    device = getattr(x, "__dlpack_device__", lambda: (None, 0))()[0]
    try:
        return from_dlpack(x) if device == CUDA else np.asarray(x)
    except ValueError as error:
        raise ShapeError(f"{call}: expected numbers in equally long lists, got {x!r}") from error
    except Exception as error:
        first = (str(error).splitlines() or [""])[0]
        raise DTypeError(
            f"{call}: cannot read {type(x).__module__}.{type(x).__name__} as an array: {first}"
        ) from None
