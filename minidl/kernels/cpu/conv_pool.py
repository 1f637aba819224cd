"""Convolution of few channels, max-pooling and relu in one; the convolution's output is not stored.

A column matrix (see `columns`) has a column for each place, and the columns may stand in any order.
Here they are sorted by the position of their place in its pooling window: first all upper left
ones, then all upper right ones, and so on. The product with w then gives one dense block for each
tap of the pooling window. The maximum of a window is the elementwise maximum of the blocks; for
relu the search begins at 0. In the backward pass each block gets the g of those windows whose
maximum was in it, and dw = g @ columnsᵀ.

Why it is fast: with 2×2 windows, the convolution's output has 4 times as many numbers as the pooled
one. Writing and reading them would take longer than computing them. Only a tile of them exists at a
time, in the cache, and every pass over it reads one long run of memory. The bias needs no pass of
its own, because the columns have a line of ones. The products have a small side, so `product`
computes them in pieces.
"""

from __future__ import annotations

import math

import numpy as np

from ..window import NO_TAP, Window
from . import product
from .columns import kernel_from_matrix, kernel_matrix, pixels_seen
from .threads import share, share_and_add

Tile = tuple[slice, slice]  # pooled rows, pooled columns

TILE = 2 * 1024 * 1024  # bytes of the convolution's output at a time


def conv_pool(
    x: np.ndarray, w: np.ndarray, b: np.ndarray | None, window: Window, pool: Window,
    rectify: bool, indexed: bool = True,
) -> tuple[np.ndarray, np.ndarray] | None:  # fmt: skip
    """max_pool(conv_forward(x, w, b)), or its relu, and the index, both (N, O, OH, OW).

    The index is NO_TAP where relu gives 0. It is empty unless `indexed`: only the backward pass
    needs it, and finding it takes as long as finding the maxima. If a result is NaN, None is
    returned, because comparisons cannot find the tap that the NaN came from.
    """
    kernel, pixels = kernel_matrix(w, b), _by_tap(x, window, pool)
    y = np.empty((len(w), *pool.out, len(x)), x.dtype)
    index = np.empty(y.shape if indexed else 0, np.uint8)

    def compute(tile: Tile) -> float:
        columns = _columns(pixels[..., *tile, :])
        taps = np.empty((len(columns), len(w), columns.shape[2]), x.dtype)
        product.side_by_side(kernel, columns, out=taps)
        best = taps.max(0, initial=0 if rectify else -np.inf)
        if indexed:
            index[:, *tile] = _index(taps, best, rectify).reshape(y[:, *tile].shape)
        y[:, *tile] = best.reshape(y[:, *tile].shape)
        return float(best.max())

    largest = share(compute, _tiles(x, len(w), pool))
    if any(map(math.isnan, largest)):
        return None
    return y.transpose(3, 0, 1, 2), index.transpose(3, 0, 1, 2) if indexed else index


def _index(taps: np.ndarray, best: np.ndarray, rectify: bool) -> np.ndarray:
    """Which tap of each window is the first that equals its maximum, `best`."""
    codes = NO_TAP - np.arange(len(taps), dtype=np.uint8)  # the first tap has the largest
    found = np.equal(taps, best).view(np.uint8)
    found *= codes.reshape(-1, 1, 1)
    largest = found.max(0)
    if rectify:
        largest *= np.greater(best, 0).view(np.uint8)
    return np.subtract(NO_TAP, largest, out=largest)


def conv_pool_grads(
    x: np.ndarray, g: np.ndarray, index: np.ndarray, window: Window, pool: Window
) -> tuple[np.ndarray, np.ndarray] | None:
    """conv_weight_grad(x, max_unpool(g, index)); and for the bias, Σ g where a pixel was chosen.

    If the result is not finite, None is returned, because here 0·∞ may give a NaN that the true
    gradient does not have.
    """
    grads, winners = g.transpose(1, 2, 3, 0), index.transpose(1, 2, 3, 0)
    pixels = _by_tap(x, window, pool)
    numbers = np.arange(math.prod(pool.size), dtype=np.uint8).reshape(-1, 1, 1)

    def summed(tile: Tile) -> np.ndarray:
        columns = _columns(pixels[..., *tile, :])
        taps = np.empty((len(columns), len(grads), columns.shape[2]), x.dtype)
        grad = np.ascontiguousarray(grads[:, *tile]).reshape(taps[0].shape)
        winner = np.ascontiguousarray(winners[:, *tile]).reshape(taps[0].shape)
        np.multiply(grad, winner == numbers, out=taps)
        return product.product(taps, columns.swapaxes(1, 2)).sum(0)

    dw = share_and_add(summed, _tiles(x, len(grads), pool))
    finite = math.isfinite(dw.sum())
    return (kernel_from_matrix(dw, x.shape[1], window), dw[:, -1]) if finite else None


def _by_tap(x: np.ndarray, window: Window, pool: Window) -> np.ndarray:
    """A view (ph, pw, kh, kw, C, OH, OW, N) of padded x: the pixels behind each pooled output."""
    (ph, pw), (height, width) = pool.size, pool.out
    seen = pixels_seen(x, window)[: height * ph, ..., : width * pw, :]
    by_tap = seen.reshape(height, ph, *window.size, x.shape[1], width, pw, len(x))
    return by_tap.transpose(1, 6, 2, 3, 4, 0, 5, 7)


def _columns(pixels: np.ndarray) -> np.ndarray:
    """Pixels (ph, pw, kh, kw, C, h, w, N) as matrices (ph·pw, kh·kw·C + 1, h·w·N)."""
    ph, pw, kh, kw, channels, *places = pixels.shape
    columns = np.empty((ph * pw, kh * kw * channels + 1, math.prod(places)), pixels.dtype)
    columns[:, -1] = 1
    columns[:, :-1].reshape(pixels.shape)[...] = pixels
    return columns


def _tiles(x: np.ndarray, n_out: int, pool: Window) -> list[Tile]:
    """Pooled rows and columns in parts whose convolution output fills about TILE bytes.

    A part is a few rows, or a piece of one row.
    """
    (ph, pw), (height, width) = pool.size, pool.out
    place = ph * pw * n_out * len(x) * x.itemsize  # bytes of one place
    columns = _parts(width, TILE // place)
    rows = _parts(height, TILE // (place * width)) if len(columns) == 1 else _parts(height, 1)
    return [(r, c) for r in rows for c in columns]


def _parts(length: int, most: int) -> list[slice]:
    """0 to length in equal parts of at most `most`, or of 1."""
    step = -(-length // -(-length // max(most, 1)))
    return [slice(start, min(start + step, length)) for start in range(0, length, step)]
