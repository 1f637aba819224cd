"""Convolution, pooling, cross-entropy and relu's gradient on a GPU: the launches of `kernels.cu`.

A GPU runs a kernel, a C function, in thousands of threads. Each thread asks `blockIdx` and
`threadIdx` which element is its own. A launch costs the host some microseconds, however little the
kernel does, and the kernels of a small network do little. So each kernel does in one launch the
work of many array operations.

Three habits make the kernels fast and their results the same in every run:
- One thread for each *output* element ("gather"): it reads all its inputs and writes once. The
  opposite is a thread for each input, which adds to many outputs ("scatter"). It needs atomic
  additions, whose order changes from run to run, and the rounding changes with it.
- Neighbouring threads have neighbouring elements, so that the 32 threads of a warp read one
  continuous piece of memory.
- Where many numbers are summed, each thread of a block sums some of them. Then the block adds these
  sums in pairs, in shared memory, in an order that never changes.

Arrays are contiguous (N, C, H, W). GEOMETRY in `kernels.cu` is the `Window`.
"""

from __future__ import annotations

import functools
import math
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from ...device import Array, array_module, cupy, is_capturing
from ..window import Window

THREADS = 256  # in a block; a multiple of the warp's 32
TEAM = 16  # a block that multiplies matrices has TEAM·TEAM threads, and makes (4·TEAM)² elements
FEW = 64  # up to so many taps·channels, summing directly is faster than a column matrix and cuBLAS


def source() -> str:
    """The CUDA source of all kernels."""
    return Path(__file__).with_name("kernels.cu").read_text(encoding="utf-8")


def _options(dtype: str) -> tuple[str, ...]:
    return f"-DREAL={dtype}", f"-DTEAM={TEAM}", "-std=c++14"


@functools.cache
def _module(dtype: str) -> Any:
    """The kernels compiled for "float" or "double".

    None if MINIDL_CUDA_KERNELS=0; None, with a warning, if they cannot be compiled.
    """
    if os.environ.get("MINIDL_CUDA_KERNELS", "1") == "0":
        return None
    try:
        module = cupy().RawModule(code=source(), options=_options(dtype))
        module.get_function("im2col")
    except Exception as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        warnings.warn(f"minidl: no CUDA kernels, array code instead: {first}", stacklevel=2)
        return None
    return module


@functools.cache
def _kernel(dtype: str, name: str) -> Any:
    return _module(dtype).get_function(name)


def compiled(dtype: np.dtype) -> bool:
    """Whether there are kernels for this type: float32 or float64, on a GPU that has them."""
    return dtype.char in "fd" and _module(_c_name(dtype)) is not None


def _c_name(dtype: np.dtype) -> str:
    return {"f": "float", "d": "double"}[dtype.char]


def launch(name: str, like: Array, count: int, *args: Any, block: bool = False) -> None:
    """Run a kernel of like's type: a thread for each of `count` elements, or a block for each."""
    grid = count if block else -(-count // THREADS)
    _kernel(_c_name(like.dtype), name)((grid,), (THREADS,), args)


def _dense(array: Array) -> Array:
    return array_module(array).ascontiguousarray(array)


def _geometry(window: Window) -> tuple[int, ...]:
    top, _, left, _ = window.pads
    return (*window.image, *window.out, *window.size, *window.stride, *window.dilation, top, left)


def conv_forward(x: Array, w: Array, b: Array | None, window: Window, groups: int) -> Array:
    """Convolution: summed directly for few taps, else a column matrix and a matrix product."""
    xp, (n, channels), n_out = array_module(x), x.shape[:2], len(w)
    taps = w.shape[1] * window.size[0] * window.size[1]
    if groups == 1 and taps <= FEW:
        y = xp.empty((n, n_out, *window.out), x.dtype)
        bias = x if b is None else b  # a kernel's pointer must point somewhere
        sizes = (y.size, channels, n_out, int(b is not None))
        args = (_dense(x), _dense(w), _dense(bias), y, *sizes, *_geometry(window))
        launch("conv", x, y.size, *args)
        return y
    kernel = w.reshape(groups, n_out // groups, taps)
    y = product(kernel, im2col(x, window, groups)).reshape(n, n_out, *window.out)
    if b is not None:
        y += b.reshape(-1, 1, 1)
    return y


def matmul(a: Array, b: Array) -> Array:
    """a @ b in one launch, for a (..., m, k) and b (..., k, n)."""
    xp = array_module(a)
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    c = xp.empty((*batch, a.shape[-2], b.shape[-1]), a.dtype)
    outer, inner = math.prod(batch[:-1]), math.prod(batch[-1:])
    # A matrix that is repeated along the batch has the stride 0 there.
    a, b = (xp.broadcast_to(x, (*batch, *x.shape[-2:])) for x in (a, b))
    a, b = (x.reshape(outer, inner, *x.shape[-2:]) for x in (a, b))
    strides = [step // x.itemsize for x in (a, b) for step in x.strides]
    (m, n), side = c.shape[-2:], 4 * TEAM
    blocks = outer * inner * -(-m // side) * -(-n // side)
    _kernel(_c_name(a.dtype), "matmul")(
        (blocks,), (TEAM * TEAM,), (a, b, c, m, n, a.shape[-1], inner, *strides)
    )
    return c


def product(a: Array, b: Array) -> Array:
    """a @ b by cuBLAS; by `matmul` while a CUDA graph is recorded, where cuBLAS is not allowed."""
    own = is_capturing() and compiled(a.dtype)
    return matmul(a, b) if own else array_module(a).matmul(a, b)


def im2col(x: Array, window: Window, groups: int) -> Array:
    """The column matrix: the pixel under each tap at each place.

    Shape: (N, groups, C/groups·kh·kw, OH·OW).
    """
    n, channels = x.shape[:2]
    (kh, kw), places = window.size, window.out[0] * window.out[1]
    shape = (n, groups, channels // groups * kh * kw, places)
    columns = array_module(x).empty(shape, x.dtype)
    launch("im2col", x, columns.size, _dense(x), columns, columns.size, *_geometry(window))
    return columns


def conv_input_grad(g: Array, w: Array, window: Window, groups: int) -> Array:
    """The gradient by x: wᵀ @ g is that of the column matrix; each pixel then sums its copies."""
    xp, n, channels = array_module(g), len(g), w.shape[1] * groups
    kernel = w.reshape(groups, len(w) // groups, -1)
    columns = product(kernel.swapaxes(1, 2), g.reshape(n, groups, len(w) // groups, -1))
    dx = xp.empty((n, channels, *window.image), g.dtype)
    launch("col2im", g, dx.size, _dense(columns), dx, dx.size, *_geometry(window))
    return dx


def conv_weight_grad(x: Array, g: Array, window: Window, groups: int) -> Array:
    """The gradient by w: for few taps, a block for each weight; else g @ column matrixᵀ."""
    xp, (n, channels), n_out = array_module(x), x.shape[:2], g.shape[1]
    dw = xp.empty((n_out, channels // groups, *window.size), x.dtype)
    if groups == 1 and dw[0].size <= FEW:
        sizes = (n, channels, n_out)
        args = (_dense(x), _dense(g), dw, *sizes, *_geometry(window))
        launch("conv_weight", x, dw.size, *args, block=True)
        return dw
    columns = im2col(x, window, groups)
    grads = g.reshape(n, groups, n_out // groups, -1)
    return product(grads, columns.swapaxes(2, 3)).sum(0).reshape(dw.shape)


def max_pool(x: Array, window: Window) -> tuple[Array, Array]:
    """The maximum of each window, and in one byte the tap that saw it first."""
    xp = array_module(x)
    y = xp.empty((*x.shape[:2], *window.out), x.dtype)
    index = xp.empty(y.shape, xp.uint8)
    launch("max_pool", x, y.size, _dense(x), y, index, y.size, *_geometry(window))
    return y, index


def max_unpool(g: Array, index: Array, window: Window) -> Array:
    """The gradient by x: each pixel gets the sum of g over the windows whose maximum it was."""
    dx = array_module(g).empty((*g.shape[:2], *window.image), g.dtype)
    args = (_dense(g), _dense(index), dx, dx.size, *_geometry(window))
    launch("max_unpool", g, dx.size, *args)
    return dx


def conv_pool(
    x: Array, w: Array, b: Array | None, window: Window, pool: Window, rectify: bool, indexed: bool
) -> tuple[Array, Array]:
    """Convolution, bias, max-pooling and relu in one; the convolution's output is not stored."""
    xp = array_module(x)
    y = xp.empty((len(x), len(w), *pool.out), x.dtype)
    index = xp.empty(y.shape, xp.uint8)
    sizes = (y.size, x.shape[1], len(w), int(b is not None), int(rectify), *pool.out, *pool.size)
    args = (_dense(x), _dense(w), _dense(x if b is None else b), y, index)
    launch("conv_pool", x, y.size, *args, *sizes, *_geometry(window))
    return y, index


def conv_pool_grads(
    x: Array, g: Array, index: Array, window: Window, pool: Window
) -> tuple[Array, Array]:
    """The gradients by w and b: a block for each of their numbers sums over the pooled places."""
    shape = (g.shape[1], x.shape[1], *window.size)
    grads, weights = array_module(x).empty(math.prod(shape) + g.shape[1], x.dtype), math.prod(shape)
    sizes = (weights, len(x), x.shape[1], g.shape[1], *pool.out, *pool.size)
    args = (_dense(x), _dense(g), _dense(index), grads, *sizes, *_geometry(window))
    launch("conv_pool_grads", x, grads.size, *args, block=True)
    return grads[:weights].reshape(shape), grads[weights:]


def keep_positive(g: Array, y: Array) -> Array:
    """g where y > 0, else 0."""
    kept = array_module(g).empty(g.shape, g.dtype)
    launch("keep_positive", g, kept.size, _dense(g), _dense(y), kept, kept.size)
    return kept


def cross_entropy(logits: Array, labels: Array) -> tuple[Array, Array]:
    """The mean loss (NaN for a label that is no class) and (softmax - onehot)/N, in one launch."""
    xp = array_module(logits)
    loss, grad = xp.empty((), logits.dtype), xp.empty(logits.shape, logits.dtype)
    targets = labels if labels.dtype == xp.int64 else labels.astype(xp.int64)
    args = (_dense(logits), _dense(targets), loss, grad, *logits.shape)
    launch("cross_entropy", logits, 1, *args, block=True)
    return loss, grad
