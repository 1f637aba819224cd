"""Values kept where a condition holds, 0 elsewhere: relu, its gradient, and masks."""

from __future__ import annotations

from math import inf

from ..device import Array, array_module
from . import choose
from .cpu.elementwise import in_chunks, keep


def relu(x: Array) -> Array:
    """max(x, 0), by `clip`: in NumPy it takes a fifth of the time of `maximum(x, 0)`."""
    xp = array_module(x)
    if x.dtype.kind != "f":
        return xp.maximum(x, 0)
    return in_chunks(lambda some: xp.clip(some, 0, inf), x)


def keep_where(g: Array, mask: Array) -> Array:
    """g where the mask holds, else 0, even where g is infinite or NaN (0·inf would be NaN)."""
    if g.dtype.char in "efd":
        return in_chunks(keep, g, mask)
    return array_module(g).where(mask, g, g.dtype.type(0))


def keep_positive(g: Array, y: Array) -> Array:
    """g where y > 0, else 0; on a GPU in one launch."""
    kept = choose.keep_positive(g, y)
    if kept is not None:
        return kept
    if g.dtype.char in "efd":
        return in_chunks(lambda some, where: keep(some, where > 0), g, y)
    return keep_where(g, y > 0)
