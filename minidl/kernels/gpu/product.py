"""Products of matrices on a GPU: cuBLAS, or a kernel of our own where cuBLAS cannot be used."""

from __future__ import annotations

import math

import numpy as np

from ...device import Array, array_module, is_capturing
from .launch import compiled, launch

TEAM = 16  # a block that multiplies matrices has TEAM·TEAM threads, and makes (4·TEAM)² elements


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
    args = (a, b, c, m, n, a.shape[-1], inner, *strides)
    launch("product", "matmul", (blocks,), args, threads=TEAM * TEAM, TEAM=TEAM)
    return c


def product(a: Array, b: Array) -> Array:
    """a @ b by cuBLAS; by `matmul` while a CUDA graph is recorded, where cuBLAS is not allowed."""
    own = is_capturing() and compiled(a.dtype)
    return matmul(a, b) if own else array_module(a).matmul(a, b)
