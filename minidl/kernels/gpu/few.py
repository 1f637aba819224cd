"""Convolutions of few input channels on a GPU: the first layer of a network for images.

x (N, C, H, W) with C <= 4, w (O, C, kh, kw). An output sums few products, so a kernel's time goes
into reading and writing. Each thread therefore reads a patch of x once, into registers, and uses it
for many outputs: the pixels under the places of a pooling window, or under `SIDE` places in a row.

The kernels are compiled for the number of channels and the sizes of the windows, and again for
other ones. The batch, the image and the number of outputs may have any size.

A thread's registers must have room for its patch; `fits` and `grads_fit` say whether they have. For
other windows there are the kernels of `convolution`.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

from ...device import Array, array_module
from ..window import Pair, Window
from .launch import counters, dense, for_parts, launch

CHANNELS = 4  # with more, a product of matrices has enough to do at each pixel
SIDE = 4  # places side by side that a thread takes: 16 bytes of y in float32, written at once
ALONE = (1, 1)  # the places that a thread takes in the gradients of a convolution without pooling
ROWS_OF_BLOCKS = 65535  # the most that a grid may have

# A multiprocessor has 65,536 registers for its threads, and a thread has at most 255.
# Forward: a patch of so many pixels. With weights, outputs and addresses the compiler then uses 125
# registers of 32 bits at most, mostly below 100: 500 threads or more run at a time.
PATCH = 72
# Gradients: a patch and the sums. With what is read ahead they must stay below 128 registers, for
# two blocks of 256 threads. At 104 the compiler moves a few of them to memory in some geometries,
# beyond it more and more.
HELD = 104

TILE = 4096  # pixels in a block's shared memory: 32 KiB of float64, where 48 are allowed
WARPS = 8  # of a block of the gradients, at most
SPREAD = 128  # about as many blocks as a large GPU has multiprocessors (an H100: 132)
BLOCKS = 512  # at most so many blocks, each with sums that must be added up in the end
MANY = 1 << 16  # from so many threads on, each has 16 outputs, below 8: more threads hide waiting


def fits(outputs: int, channels: int, window: Window, places: Pair = (1, SIDE)) -> bool:
    """Whether `conv_forward` can run, or `conv_pool` with pooling windows of the size `places`."""
    small = channels <= CHANNELS and outputs <= ROWS_OF_BLOCKS
    return small and channels * math.prod(_pixels(window, places)) <= PATCH


def grads_fit(outputs: int, channels: int, window: Window, places: Pair = ALONE) -> bool:
    """Whether their gradients by w and b can be computed here."""
    small = channels <= CHANNELS and outputs <= ROWS_OF_BLOCKS
    return small and _outputs(channels, window, places) > 0 and _tile(channels, window, places) > 0


def _pixels(window: Window, places: Pair) -> Pair:
    """Rows and columns under so many neighbouring places."""
    (ph, pw), (sh, sw), (rh, rw) = places, window.stride, window.reach
    return (ph - 1) * sh + rh, (pw - 1) * sw + rw


def _outputs(channels: int, window: Window, places: Pair) -> int:
    """How many outputs' sums a thread of the gradients can hold beside a patch: 4, 2, 1 or 0."""
    left = HELD - channels * math.prod(_pixels(window, places))
    sums = channels * math.prod(window.size) + 1  # of an output: its weights and its bias
    return next((outputs for outputs in (4, 2, 1) if outputs * sums <= left), 0)


def _tile(channels: int, window: Window, places: Pair) -> int:
    """How many rows of patches shared memory can hold, of the full width of the image."""
    step, across = places[0] * window.stride[0], window.out[1] // places[1]
    first, width = _pixels(window, (places[0], across * places[1]))
    width += width % 2
    return (TILE // (channels * width) - first) // step + 1


@lru_cache(1024)
def _constants(channels: int, window: Window, places: Pair) -> dict[str, int]:
    """What the kernels are compiled for."""
    (kh, kw), (sh, sw), (dh, dw), (ph, pw) = window.size, window.stride, window.dilation, places
    return {
        "CHANNELS": channels, "TAPS_H": kh, "TAPS_W": kw, "STRIDE_H": sh, "STRIDE_W": sw,
        "DILATE_H": dh, "DILATE_W": dw, "PLACES_H": ph, "PLACES_W": pw, "TILE": TILE,
        "OUTPUTS": max(_outputs(channels, window, places), 1),
    }  # fmt: skip


def conv_forward(x: Array, w: Array, b: Array | None, window: Window) -> Array:
    """y[n, o, r, c] = b[o] + Σ_k,i,j w[o, k, i, j]·x[n, k, pixel under tap (i, j) at (r, c)]."""
    y = array_module(x).empty((len(x), len(w), *window.out), x.dtype)
    threads = len(x) * window.out[0] * -(-window.out[1] // SIDE)
    _forward("few_conv", (x, w, b, y), threads, (window,), (1, SIDE))
    return y


def conv_pool(
    x: Array, w: Array, b: Array | None, window: Window, pool: Window, rectify: bool
) -> tuple[Array, Array]:
    """Convolution, bias, max-pooling and relu in one launch -> y and index (N, O, POH, POW)."""
    xp = array_module(x)
    y = xp.empty((len(x), len(w), *pool.out), x.dtype)
    index = xp.empty(y.shape, xp.uint8)
    threads = len(x) * math.prod(pool.out)
    rest = int(rectify), *pool.out, window
    _forward("few_conv_pool", (x, w, b, y, index), threads, rest, pool.size)
    return y, index


def _forward(name: str, arrays: Any, threads: int, rest: Any, places: Pair) -> None:
    x, w, b, *results = arrays
    share = 16 if threads >= MANY else 8
    grid = -(-threads // 128), -(-len(w) // share)
    given = dense(x), dense(w), 0 if b is None else dense(b), *results  # 0 is a null pointer
    constants = _constants(x.shape[1], rest[-1], places)
    launch("few", name, grid, (*given, threads, len(w), share, *rest), threads=128, **constants)


def conv_weight_grad(x: Array, g: Array, window: Window) -> Array:
    """dw[o, k, i, j] = Σ_n,r,c g[n, o, r, c]·x[n, k, pixel under tap (i, j) at (r, c)]."""
    return _grads(x, g, None, window, ALONE)[0]


def conv_pool_grads(
    x: Array, g: Array, index: Array, window: Window, pool: Window
) -> tuple[Array, Array]:
    """The gradients of `conv_pool` by w and b: each g counts at the place that was the maximum."""
    return _grads(x, g, index, window, pool.size)


def _grads(
    x: Array, g: Array, index: Array | None, window: Window, places: Pair
) -> tuple[Array, Array]:
    """Each block sums over a part of the places; the last ones add up the blocks' sums.

    The parts depend on the shapes alone, not on the GPU, and so does the rounding.
    """
    xp, (n, channels), (_, outputs, *out) = array_module(x), x.shape[:2], g.shape
    constants = _constants(channels, window, places)
    rows, together = stripes(n, channels, window, places)
    blocks = min(-(-n // together) * -(-out[0] // rows), BLOCKS)
    warps = min(-(-outputs // constants["OUTPUTS"]), WARPS)
    grid = blocks, -(-outputs // (warps * constants["OUTPUTS"]))
    dw, db = xp.empty((outputs, channels, *window.size), x.dtype), xp.empty(outputs, x.dtype)
    partial = xp.empty((blocks, dw.size + db.size), x.dtype)
    given = dense(x), dense(g), 0 if index is None else dense(index), partial, dw, db
    args = *given, counters(for_parts(blocks)), n, outputs, rows, together, *out, window
    launch("few", "few_grads", grid, args, threads=32 * warps, **constants)
    return dw, db


@lru_cache(1024)
def stripes(n: int, channels: int, window: Window, places: Pair) -> tuple[int, int]:
    """How many rows of patches a stripe has, and how many stripes a block takes at a time.

    - Few images are cut into stripes so that there are SPREAD blocks. But a stripe has 32 patches
      or more, one for each lane of a warp.
    - Of many small images, whole ones are taken together: the lanes then have more patches to share
      between two waits for memory.
    - Of a large image, a stripe has as many rows as shared memory can hold.
    """
    down, across = (out // p for out, p in zip(window.out, places, strict=True))
    rows = max(-(-down * n // SPREAD), -(-32 // across))
    rows = min(rows, down, _tile(channels, window, places))
    if rows < down:
        return rows, 1
    height, width = _pixels(window, (down * places[0], across * places[1]))
    room = TILE // (channels * height * (width + width % 2))
    return rows, max(min(n // (2 * SPREAD), room), 1)
