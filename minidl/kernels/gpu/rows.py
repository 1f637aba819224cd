"""Softmax, its logarithm and standardisation on a GPU, along the last axes: one launch each."""

from __future__ import annotations

import math
from typing import Any

from ...device import Array, array_module
from .launch import THREADS, dense, launch

WARP = 32


def _launch(kernel: str, columns: int, *args: Any) -> None:
    """Run a kernel with a team of threads for each row of `columns` numbers of args[0]."""
    rows = args[0].size // columns
    team = min(1 << (columns - 1).bit_length(), WARP)
    blocks = -(-rows * team // THREADS)
    launch("rows", kernel, (blocks,), (*args, rows, columns), TEAM=team)


def _made(kernel: str, columns: int, *given: Array) -> Array:
    """What a kernel makes of the given arrays, in the shape of the first of them."""
    made = array_module(given[0]).empty(given[0].shape, given[0].dtype)
    _launch(kernel, columns, *map(dense, given), made)
    return made


def softmax(x: Array, axis: int) -> Array:
    """eˣ / Σ eˣ along the last axis."""
    return _made("softmax", x.shape[-1], x)


def softmax_grad(g: Array, y: Array, axis: int) -> Array:
    """The gradient by x of y = softmax x."""
    return _made("softmax_grad", g.shape[-1], g, y)


def log_softmax(x: Array, axis: int) -> Array:
    """ln softmax x along the last axis."""
    return _made("log_softmax", x.shape[-1], x)


def log_softmax_grad(g: Array, y: Array, axis: int) -> Array:
    """The gradient by x of y = ln softmax x."""
    return _made("log_softmax_grad", g.shape[-1], g, y)


def standardize(x: Array, axes: tuple[int, ...], eps: float) -> tuple[Array, Array]:
    """(x - mean)/√(variance + ε) along the last axes, and the divisor."""
    y = array_module(x).empty(x.shape, x.dtype)
    kept = tuple(1 if i in axes else n for i, n in enumerate(x.shape))
    deviation = array_module(x).empty(kept, x.dtype)
    _launch("standardize", x.size // deviation.size, dense(x), y, deviation, float(eps))
    return y, deviation


def standardize_grad(g: Array, y: Array, deviation: Array, axes: tuple[int, ...]) -> Array:
    """The gradient by x of a standardised y."""
    columns = math.prod(g.shape[i] for i in axes)
    return _made("standardize_grad", columns, g, y, deviation)
