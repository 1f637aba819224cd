"""Pooling on a GPU: a thread for each output. The kernels are compiled for each window."""

from __future__ import annotations

from functools import lru_cache

from ...device import Array, array_module
from ..window import Window
from .launch import dense, each, launch


@lru_cache(1024)
def _constants(window: Window) -> dict[str, int]:
    """What the kernels are compiled for."""
    (kh, kw), (sh, sw), (dh, dw) = window.size, window.stride, window.dilation
    names = ("TAPS_H", "TAPS_W", "STRIDE_H", "STRIDE_W", "DILATE_H", "DILATE_W")
    return dict(zip(names, (kh, kw, sh, sw, dh, dw), strict=True))


def _launch(kernel: str, window: Window, count: int, *args: Array | int) -> None:
    """Run a kernel with a thread for each of `count` outputs."""
    launch("pool", kernel, each(count), (*args, count, window), **_constants(window))


def max_pool(x: Array, window: Window, rectify: bool = False) -> tuple[Array, Array]:
    """The maximum of each window, and in one byte the tap that saw it first.

    With `rectify`, relu of that; where it is 0, the index is NO_TAP.
    """
    xp = array_module(x)
    y = xp.empty((*x.shape[:2], *window.out), x.dtype)
    index = xp.empty(y.shape, xp.uint8)
    _launch("max_pool", window, y.size, dense(x), y, index, int(rectify))
    return y, index


def max_unpool(g: Array, index: Array, window: Window) -> Array:
    """The gradient by x: each pixel gets the sum of g over the windows whose maximum it was."""
    dx = array_module(g).empty((*g.shape[:2], *window.image), g.dtype)
    _launch("max_unpool", window, dx.size, dense(g), dense(index), dx)
    return dx


def max_take(x: Array, index: Array, window: Window) -> Array:
    """x at the pixels that were the maxima: the transpose of `max_unpool`."""
    y = array_module(x).empty(index.shape, x.dtype)
    _launch("max_take", window, y.size, dense(x), dense(index), y)
    return y


def avg_pool(x: Array, window: Window) -> Array:
    """The mean of the pixels under each place; the padding's zeros count."""
    y = array_module(x).empty((*x.shape[:2], *window.out), x.dtype)
    _launch("avg_pool", window, y.size, dense(x), y)
    return y


def avg_unpool(g: Array, window: Window) -> Array:
    """The gradient by x: each pixel gets an equal share of the g of every window over it."""
    dx = array_module(g).empty((*g.shape[:2], *window.image), g.dtype)
    _launch("avg_unpool", window, dx.size, dense(g), dx)
    return dx
