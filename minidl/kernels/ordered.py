"""Matrix products whose result lies in memory as another matrix does."""

from __future__ import annotations

from ..device import Array
from .choose import product


def product_in_order_of(x: Array, a: Array, b: Array) -> Array:
    """a @ b, stored column by column where x is stored so, else row by row.

    A gradient should lie in memory as its value does: whoever reads both then goes through both in
    order. Flattened images are stored column by column, and so are weights that were transposed.
    (bᵀ @ aᵀ)ᵀ is the same product, written the other way.
    """
    if x.ndim == a.ndim == b.ndim == 2 and x.flags.f_contiguous:
        return product(b.T, a.T).T
    return product(a, b)
