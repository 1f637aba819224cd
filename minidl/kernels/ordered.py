"""Matrix products that are stored in the row or column order of another matrix."""

from __future__ import annotations

from ..device import Array
from .choose import product


def product_in_order_of(x: Array, a: Array, b: Array) -> Array:
    """a @ b, stored column by column if x is, otherwise row by row.

    A gradient (a @ b) should have the memory order of its value (x). A later pass that reads both
    then reads both in sequence. Flattened images are stored column by column, and so are transposed
    weights. (bᵀ @ aᵀ)ᵀ is the same product, and its result is stored column by column.
    """
    if x.ndim == a.ndim == b.ndim == 2 and x.flags.f_contiguous:
        return product(b.T, a.T).T
    return product(a, b)
