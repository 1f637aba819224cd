"""Products of matrices on a GPU: by cuBLAS, or by our own kernel where cuBLAS cannot be used."""

from __future__ import annotations

import math

import numpy as np

from ...device import Array, array_module, is_capturing
from . import cublas
from .launch import compiled, counters, dense, for_parts, launch

ROWS, OUTPUTS = 128, 16  # of x and w, up to which `linear` takes the place of cuBLAS
SLICE = 16  # as in product.cu
BLOCKS = 128  # about as many blocks as a large GPU has multiprocessors (an H100: 132)
TEAM = 16  # a block that multiplies matrices has TEAM·TEAM threads, and makes (4·TEAM)² elements


def product(a: Array, b: Array) -> Array:
    """a @ b for a (..., m, k), b (..., k, n); leading axes broadcast.

    By `cupy.matmul`; by `recorded` while a CUDA graph is recorded, where that is not allowed.
    """
    own = is_capturing() and compiled(a.dtype)
    return recorded(a, b) if own else array_module(a).matmul(a, b)


def linear(x: Array, w: Array, b: Array | None, rectify: bool) -> Array:
    """x @ wᵀ + b, or its relu, in one launch: for few rows and few outputs.

    The sums are cut into pieces, so that there is a block for each multiprocessor. How many depends
    on the shapes alone, not on the GPU, so that rounding is the same everywhere.
    """
    xp, (m, k), n, side = array_module(x), x.shape, len(w), 4 * TEAM
    tiles = -(-m // side) * -(-n // side)
    chunk = SLICE * -(-k // (SLICE * max(1, BLOCKS // tiles)))
    count = -(-k // chunk)
    y = xp.empty((m, n), x.dtype)
    pieces = xp.empty((tiles, count, min(side, m), min(side, n)), x.dtype)
    given = dense(x), dense(w), 0 if b is None else dense(b), y, pieces  # 0 is a null pointer
    args = *given, counters(tiles * for_parts(count)), m, n, k, chunk, int(rectify)
    launch("product", "linear", (tiles, count), args, threads=TEAM * TEAM, TEAM=TEAM)
    return y


def recorded(a: Array, b: Array) -> Array:
    """a @ b by cuBLAS itself; by a kernel of our own without cuBLAS, or for unusual layouts."""
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    c = array_module(a).empty((*batch, a.shape[-2], b.shape[-1]), a.dtype)
    outer, inner = math.prod(batch[:-1]), math.prod(batch[-1:])
    a, b = (_repeated(x, batch).reshape(outer, inner, *x.shape[-2:]) for x in (a, b))
    blas = cublas.recorder()
    matrices = c.reshape(outer, inner, *c.shape[-2:])
    if blas is None or not _by_blas(blas, a, b, matrices):
        _matmul(a, b, matrices)
    return c


def _by_blas(blas: cublas.Cublas, a: Array, b: Array, c: Array) -> bool:
    """c = a @ b for batches with two axes: a call for each index of the shorter one."""
    if c.shape[0] > c.shape[1]:
        a, b, c = (x.swapaxes(0, 1) for x in (a, b, c))
    return all(blas.multiply(*parts) for parts in zip(a, b, c, strict=True))


def _repeated(x: Array, batch: tuple[int, ...]) -> Array:
    """x with the batch's leading axes; along those where it is repeated it has the stride 0."""
    if x.shape[:-2] == batch:
        return x
    return array_module(x).broadcast_to(x, (*batch, *x.shape[-2:]))


def _matmul(a: Array, b: Array, c: Array) -> None:
    """c = a @ b for batches with two axes, (outer, inner, rows, columns)."""
    strides = [step // x.itemsize for x in (a, b) for step in x.strides]
    outer, inner, m, n = c.shape
    side = 4 * TEAM
    blocks = outer * inner * -(-m // side) * -(-n // side)
    args = (a, b, c, m, n, a.shape[-1], inner, *strides)
    launch("product", "matmul", (blocks,), args, threads=TEAM * TEAM, TEAM=TEAM)
