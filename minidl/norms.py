"""Norms that neither overflow nor vanish, for arrays of NumPy and CuPy, in one place.

The square of 1e25 is infinite in float32, and the square of 1e-25 is 0. Exploding gradients are
such numbers, so a plain √(Σ x²) would report infinity or 0 where the norm is an ordinary number.
The careful way divides by the largest |x| first, works in float64, and multiplies at the end:

    ‖x‖ = m·√(Σ (x/m)²),    m = max |x|

The quick way is one dot product. Its result shows whether a square may have been lost; only then is
the work done again carefully. A NaN in x gives NaN; without a NaN, an infinity in x gives infinity.
Complex numbers count by their modulus.
"""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from .device import Array, array_module, gather, is_host
from .kernels.cpu.blas import one_blas_thread

_silent = np.errstate(over="ignore", under="ignore", invalid="ignore")

# Above this limit, tiny/ε², a sum of squares is as good as exact. A square loses digits only if it
# is below tiny, the smallest normal number. Such a square is less than ε² times the sum.
_LEAST = {c: float(np.finfo(c).tiny / np.finfo(c).eps.astype(float) ** 2) for c in "fd"}


@_silent
def rms(array: Array) -> float:
    """The root mean square √(Σ x²/n), computed in float64; 0 where there are no elements.

    On a GPU the host waits for the result.
    """
    if not array.size:
        return 0.0
    largest, squares = _scaled(array, None)
    return float(largest.ravel()[0] * (squares.sum() / array.size) ** 0.5)


@_silent
def l2(array: Array, axis: Any = None, keepdims: bool = False) -> Array:
    """The norms √(Σ x²) along axes (all of them by default), in float64.

    Shape: the array's without those axes, or with 1 in their place where keepdims is True.
    """
    if not array.size:
        return abs(array).sum(axis, dtype=np.float64, keepdims=keepdims)
    largest, squares = _scaled(array, axis)
    total = squares.sum(axis, keepdims=keepdims)
    return largest.reshape(total.shape) * total**0.5


@_silent
def quick_l2(array: Array) -> Any:
    """The norm √(Σ x²) of a whole array, by one dot product where that is enough.

    Returns a Python float on the CPU. On a GPU it returns an array of shape () without waiting.
    """
    if not is_host(array):
        if array.dtype.char not in "ef":
            return l2(array)
        # The squares of float16 and float32 fit into float64. `sum` may be recorded in a CUDA
        # graph, unlike cuBLAS's dot product.
        return array_module(array).square(array, dtype=np.float64).sum() ** 0.5
    if array.dtype.char in _LEAST:
        flat = array.ravel(order="K")  # in the order of the memory: no copy
        with one_blas_thread():
            total = float(np.dot(flat, flat))
        if _LEAST[array.dtype.char] < total < math.inf:
            return total**0.5
    return float(l2(array))


@_silent
def global_l2(arrays: Iterable[Array]) -> Any:
    """The norm of all arrays together, √(Σ ‖x‖²); 0 of no arrays.

    Returns a Python float on the CPU. On a GPU it returns an array of shape () without waiting.
    """
    parts = [quick_l2(array) for array in arrays]
    if not all(isinstance(part, float) for part in parts):
        return l2(gather(parts))
    # hypot(nan, inf) would be inf.
    return math.nan if any(map(math.isnan, parts)) else math.hypot(*parts)


def _scaled(array: Array, axis: Any) -> tuple[Array, Array]:
    """The largest |x| along axes (1 where that is 0 or not finite), and all (x/largest)²."""
    xp = array_module(array)
    size = abs(array.astype(xp.result_type(array.dtype, np.float64)))
    largest = size.max(axis, keepdims=True)
    largest = xp.where((largest > 0) & xp.isfinite(largest), largest, 1.0)
    return largest, xp.square(size / largest)
