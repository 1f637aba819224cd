"""Functions that work number by number, on large arrays: each thread some of the numbers.

Such a function hardly computes: its time is reading and writing. One core cannot read as fast as
memory delivers, two can read faster. And what a function with two steps writes in between stays in
the cache, because a chunk is that small.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...device import Array, is_host
from .threads import share

CHUNK = 1 << 16  # numbers in one part; waking a thread takes as long as a few thousand


def in_chunks(function: Callable[..., Array], *arrays: Array) -> Array:
    """function(*arrays), for a function that keeps the type of the first array.

    Small arrays, arrays of different shapes, types (but for bool) or memory orders, and a GPU's
    take one call.
    """
    first = arrays[0]
    if first.size < 2 * CHUNK or not is_host(first) or not first.dtype.isnative:
        return function(*arrays)
    if any(a.shape != first.shape or a.dtype not in (first.dtype, bool) for a in arrays):
        return function(*arrays)
    order = sorted(range(first.ndim), key=lambda axis: -first.strides[axis])
    flat = [array.transpose(order) for array in arrays]
    if not all(array.flags.c_contiguous for array in flat):
        return function(*arrays)
    flat = [array.reshape(-1) for array in flat]
    out = np.empty_like(flat[0])

    def compute(start: int) -> None:
        chunk = slice(start, start + CHUNK)
        out[chunk] = function(*(array[chunk] for array in flat))

    share(compute, range(0, len(out), CHUNK))
    back = sorted(range(first.ndim), key=order.__getitem__)
    return out.reshape(first.transpose(order).shape).transpose(back)
