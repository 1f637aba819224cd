"""Convolutions of many channels on a GPU: products with a column matrix that is never stored.

A column matrix holds each pixel kh·kw times: to write and to read it takes longer than to multiply.
The kernels make the piece of it that they need in a multiprocessor's own memory. Each function
takes two launches; `implicit.cu` says what they do.
"""

from __future__ import annotations

import math
import os
from typing import Any

from ...device import Array, array_module
from ..window import Window
from .launch import THREADS, dense, each, launch

SLICE = 8  # as in implicit.cu
WAVE = 132 * 384  # threads that an H100 runs at a time; the pieces of a weight gradient fill it


def conv_forward(x: Array, w: Array, b: Array | None, window: Window, groups: int) -> Array:
    """Convolution: x (N, C, H, W), w (O, C, kh, kw), b (O,) or None -> (N, O, OH, OW).

    groups must be 1; it is there because all versions of a kernel take the same arguments.
    """
    y = array_module(x).empty((len(x), len(w), *window.out), x.dtype)
    return _convolve(x, w, b, y, window, back=False)


def conv_input_grad(g: Array, w: Array, window: Window, groups: int) -> Array:
    """The gradient by x: g (N, O, OH, OW) -> (N, C, H, W).

    It is a convolution of g with the same weights, inputs and outputs exchanged. A stride of s
    divides the pixels into s·s parts that see different taps.
    """
    dx = array_module(g).empty((len(g), w.shape[1], *window.image), g.dtype)
    return _convolve(g, w, None, dx, window, back=True)


def conv_weight_grad(x: Array, g: Array, window: Window, groups: int) -> Array:
    """The gradient by w: x and g -> (O, C, kh, kw).

    The sums over all places are cut into pieces, enough to fill the GPU. How many depends on the
    shapes alone, not on the GPU, so that rounding is the same everywhere.
    """
    xp, (n, channels), n_out = array_module(x), x.shape[:2], g.shape[1]
    rows, taps = _rows(n_out), window.size[0] * window.size[1]
    threads, near = rows * rows // 32, 512 // rows  # TEAM and NEAR in implicit.cu
    count = taps * _up(channels, near)
    tiles = _up(n_out, rows) // rows * -(-count // (2 * rows))
    slices = -(-n * math.prod(window.out) // SLICE)
    chunk = -(-slices // max(1, WAVE // threads // tiles))
    pieces = xp.empty((-(-slices // chunk), n_out, count), x.dtype)
    sizes = (n, channels, n_out, chunk)
    _run("implicit_weight", (tiles, len(pieces)), (dense(x), dense(g), pieces, *sizes, window),
         rows, threads)  # fmt: skip
    dw = xp.empty((n_out, channels, *window.size), x.dtype)
    args = (pieces, dw, len(pieces), n_out, channels, taps)
    _run("add_pieces", (-(-n_out * count // 32),), args, rows)
    return dw


def _convolve(
    x: Array, w: Array, b: Array | None, y: Array, window: Window, *, back: bool
) -> Array:
    """Fill y with the convolution of x; or with the input gradient, where x is g and y is dx."""
    (n, n_from), n_to, taps = x.shape[:2], y.shape[1], window.size[0] * window.size[1]
    rows = _rows(n_to)
    slices = array_module(x).empty((taps, _up(n_from, SLICE), _up(n_to, rows)), x.dtype)
    args = (dense(w), slices, slices.size, n_from, n_to, taps, int(back))
    _run("in_slices", each(slices.size), args, rows)
    phases, places = 1, n * math.prod(window.out)
    if back:  # the pixels of dx, sorted by their remainders when divided by the stride
        phases, (height, width), (sh, sw) = math.prod(window.stride), window.image, window.stride
        places = n * -(-height // sh) * -(-width // sw)
    grid = (phases * -(-places * rows // 8192), slices.shape[2] // rows)  # a tile has 8192 sums
    bias = x if b is None else b  # a kernel's pointer must point somewhere
    sizes = (n, n_from, n_to, int(b is not None), int(back))
    _run("implicit", grid, (dense(x), slices, dense(bias), y, *sizes, window), rows, 128)
    return y


def _run(
    name: str, grid: tuple[int, ...], args: tuple[Any, ...], rows: int, threads: int = THREADS
) -> None:
    """Launch a kernel of implicit.cu, with tensor cores if CuPy is told to use them too."""
    constants = {"ROWS": rows}
    if args[0].dtype.char == "f" and os.environ.get("CUPY_TF32") == "1":
        constants["TF32"] = 1
    launch("implicit", name, grid, args, threads=threads, **constants)


def _rows(outputs: int) -> int:
    """The height of a block's tile."""
    return 32 if outputs <= 32 else 64


def _up(number: int, to: int) -> int:
    """The next multiple of `to`."""
    return -(-number // to) * to
