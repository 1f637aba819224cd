"""Which version of each kernel runs: decided here, by device, type and shape alone.

- `cuda`: arrays of CuPy of float32 or float64, where the kernels compile.
- `portable`: other arrays of CuPy, types other than float32 and float64, groups, empty arrays.
- `cpu_columns`: a convolution of few input channels, whose kernel rows are shorter than THIN.
- `cpu_rows`: every other convolution.
- `cpu_pool`: pooling.
- `cpu_conv_pool`: a convolution of few input channels with the max-pooling behind it.
- `thin`: matrix products of host arrays.

Arithmetic on numbers that are not finite gives numbers that are not finite, silently here as in a
matrix product; who wants to know looks at the result.
"""

from __future__ import annotations

import math
from types import ModuleType

import numpy as np

from ..device import Array, is_host
from . import portable
from .cpu import blas, thin
from .cpu import columns as cpu_columns
from .cpu import conv_pool as cpu_conv_pool
from .cpu import pool as cpu_pool
from .cpu import rows as cpu_rows
from .gpu import launch as cuda
from .window import NO_TAP, Window

THIN = 16  # lines (kh·C) below which a matrix product is not worth its call

_silent = np.errstate(over="ignore", invalid="ignore", under="ignore")


def _on_cpu(*arrays: Array) -> bool:
    dtype = arrays[0].dtype
    return dtype.char in "fd" and all(
        isinstance(array, np.ndarray) and array.dtype == dtype and array.size for array in arrays
    )


def _convolution(window: Window, channels: int) -> ModuleType:
    return cpu_columns if window.size[0] * channels < THIN else cpu_rows


def product(a: Array, b: Array) -> Array:
    """a @ b for a (..., m, k), b (..., k, n); leading axes broadcast."""
    return thin.product(a, b) if is_host(a) else cuda.product(a, b)


@_silent
def conv_forward(x: Array, w: Array, b: Array | None, window: Window, groups: int) -> Array:
    """Convolution: x (N, C, H, W), w (O, C/groups, kh, kw), b (O,) or None -> (N, O, OH, OW)."""
    if cuda.usable(x, w, *(() if b is None else (b,))):
        return cuda.conv_forward(x, w, b, window, groups)
    if groups > 1 or not _on_cpu(x, w) or (b is not None and not _on_cpu(x, b)):
        return portable.conv_forward(x, w, b, window, groups)
    return _convolution(window, x.shape[1]).conv_forward(x, w, b, window)


@_silent
def conv_scale(
    x: Array, w: Array, b: Array | None, window: Window, groups: int, rows: slice
) -> float | None:
    """The root mean square of rows of `conv_forward`, where they can be had by themselves."""
    fits = groups == 1 and _on_cpu(x, w) and (b is None or _on_cpu(x, b))
    if not fits or _convolution(window, x.shape[1]) is not cpu_columns:
        return None
    square = cpu_columns.mean_square(x, w, b, window, rows)
    return math.sqrt(square) if 1e-30 < square < math.inf else None


@_silent
def conv_input_grad(g: Array, w: Array, window: Window, groups: int) -> Array:
    """The transpose of the convolution in x: g (N, O, OH, OW) -> (N, C, H, W)."""
    if cuda.usable(g, w):
        return cuda.conv_input_grad(g, w, window, groups)
    if groups > 1 or not _on_cpu(g, w):
        return portable.conv_input_grad(g, w, window, groups)
    return _convolution(window, w.shape[1]).conv_input_grad(g, w, window)


@_silent
def conv_weight_grad(x: Array, g: Array, window: Window, groups: int) -> Array:
    """The transpose of the convolution in w: x and g -> (O, C/groups, kh, kw)."""
    if cuda.usable(x, g):
        return cuda.conv_weight_grad(x, g, window, groups)
    if groups > 1 or not _on_cpu(x, g):
        return portable.conv_weight_grad(x, g, window, groups)
    return _convolution(window, x.shape[1]).conv_weight_grad(x, g, window)


@_silent
def max_pool(x: Array, window: Window) -> tuple[Array, Array]:
    """(N, C, H, W) -> the maxima (N, C, OH, OW), and an index for the next two functions."""
    fits = window.size[0] * window.size[1] <= 256  # the index is one byte
    if fits and cuda.usable(x):
        return cuda.max_pool(x, window)
    return (cpu_pool if fits and _on_cpu(x) else portable).max_pool(x, window)


@_silent
def max_unpool(g: Array, index: Array, window: Window) -> Array:
    """g (N, C, OH, OW) -> (N, C, H, W): each g at the pixel that was the first maximum."""
    if index.dtype == np.uint8 and cuda.usable(g):
        return cuda.max_unpool(g, index, window)
    fast = _on_cpu(g) and index.dtype == np.uint8
    return (cpu_pool if fast else portable).max_unpool(g, index, window)


@_silent
def max_take(x: Array, index: Array, window: Window) -> Array:
    """x (N, C, H, W) -> (N, C, OH, OW): x at those pixels, the transpose of `max_unpool`."""
    return portable.max_take(x, index, window)


@_silent
def avg_pool(x: Array, window: Window) -> Array:
    """(N, C, H, W) -> the means (N, C, OH, OW); zeros of the padding count."""
    return (cpu_pool if _on_cpu(x) else portable).avg_pool(x, window)


@_silent
def avg_unpool(g: Array, window: Window) -> Array:
    """g (N, C, OH, OW) -> (N, C, H, W): each g in equal shares to the pixels under its place."""
    return (cpu_pool if _on_cpu(g) else portable).avg_unpool(g, window)


@_silent
def conv_pool(
    x: Array, w: Array, b: Array | None, window: Window, groups: int, pool: Window, rectify: bool
) -> tuple[Array, Array] | None:
    """max_pool(conv_forward(x, w, b, window, groups), pool), and relu of that if told to rectify.

    The index of a place that relu set to 0 is NO_TAP. None where no kernel does it all.
    """
    engine = _both(x, w, window, groups, pool)
    if engine is None or (b is not None and _both(x, b, window, groups, pool) is None):
        return None
    y, index = engine.conv_pool(x, w, b, window, pool, rectify)
    seen = engine is cuda or not math.isnan(y.max())  # comparisons cannot find the place of a NaN
    return (y, index) if seen else None


@_silent
def conv_pool_grads(
    x: Array, g: Array, index: Array, window: Window, groups: int, pool: Window
) -> tuple[Array, Array]:
    """The gradients by w and b: conv_weight_grad and the sums of max_unpool(g, index, pool)."""
    engine = _both(x, g, window, groups, pool)
    if engine is not None and index.dtype == np.uint8:
        dw, db = engine.conv_pool_grads(x, g, index, window, pool)
        if engine is cuda or math.isfinite(dw.sum() + db.sum()):  # 0·∞ must not make a NaN
            return dw, db
    wide = max_unpool(g, index, pool)
    return conv_weight_grad(x, wide, window, groups), wide.sum((0, 2, 3))


def _both(x: Array, other: Array, window: Window, groups: int, pool: Window) -> ModuleType | None:
    """What runs a convolution of few channels and a pooling, windows side by side, as one."""
    side_by_side = pool.stride == pool.size and pool.padded == pool.image == window.out
    small = pool.size[0] * pool.size[1] <= NO_TAP and pool.dilation == (1, 1)
    if groups > 1 or not side_by_side or not small:
        return None
    if cuda.usable(x, other):
        return cuda if x.shape[1] * window.size[0] * window.size[1] <= cuda.FEW else None
    few = _on_cpu(x, other) and _convolution(window, x.shape[1]) is cpu_columns
    return cpu_conv_pool if few else None


@_silent
def cross_entropy(logits: Array, labels: Array) -> tuple[Array, Array]:
    """The mean loss and its gradient by the logits, (softmax - onehot)/N; in one launch on a GPU.

    On a GPU, where nobody could look at the labels, one outside 0..K-1 makes the loss NaN.
    """
    if cuda.usable(logits) and logits.size <= 1 << 16:  # one block: beyond that, array code
        return cuda.cross_entropy(logits, labels)
    return portable.cross_entropy(logits, labels)


def keep_positive(g: Array, y: Array) -> Array | None:
    """On a GPU, in one launch: g where y > 0, else 0; else None."""
    return cuda.keep_positive(g, y) if g.shape == y.shape and cuda.usable(g, y) else None


def add_multiple(out: Array, factor: float, a: Array) -> None:
    """out += factor·a; on the CPU in one pass over memory."""
    if is_host(out):
        blas.add_multiple(out, factor, a)
    else:
        out += a * factor


def in_one_launch(*arrays: Array) -> bool:
    """Whether a parameter, its gradient and its slots can be updated by `update`."""
    return cuda.usable(*arrays) and all(a.flags.c_contiguous for a in arrays)


def update(rule: str, rows: list[tuple[Array, ...]], numbers: list[tuple[float, ...]]) -> None:
    """On a GPU: one optimizer step of all parameters in one launch. See `cuda.update`."""
    for dtype in {row[0].dtype for row in rows}:
        mine = [i for i, row in enumerate(rows) if row[0].dtype == dtype]
        cuda.update(rule, [rows[i] for i in mine], [numbers[i] for i in mine])
