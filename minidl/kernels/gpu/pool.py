"""Max-pooling on a GPU: a thread for each output."""

from __future__ import annotations

from ...device import Array, array_module
from ..window import Window
from .launch import dense, each, launch


def max_pool(x: Array, window: Window) -> tuple[Array, Array]:
    """The maximum of each window, and in one byte the tap that saw it first."""
    xp = array_module(x)
    y = xp.empty((*x.shape[:2], *window.out), x.dtype)
    index = xp.empty(y.shape, xp.uint8)
    launch("pool", "max_pool", each(y.size), (dense(x), y, index, y.size, window))
    return y, index


def max_unpool(g: Array, index: Array, window: Window) -> Array:
    """The gradient by x: each pixel gets the sum of g over the windows whose maximum it was."""
    dx = array_module(g).empty((*g.shape[:2], *window.image), g.dtype)
    launch("pool", "max_unpool", each(dx.size), (dense(g), dense(index), dx, dx.size, window))
    return dx
