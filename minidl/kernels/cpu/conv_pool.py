"""Convolution of few channels, max-pooling and relu in one: no image between them ever exists.

The columns of `cpu_columns` may stand in any order. Here they are sorted by where their place lies
in its pooling window: first all upper left ones, then all upper right ones, and so on. Tile by
tile, the product with w then gives one dense block for each tap of the pooling window, and the
largest of a window is the elementwise maximum of kh·kw blocks; for relu the search begins at 0. In
the backward pass each block gets its share of g, and dw = g @ columnsᵀ takes the blocks as they
are.

Why it is fast: between the two layers lie 4 times as many numbers as behind them, and reading and
writing them takes longer than computing them. They live in one tile, in the cache, and every
pass over it is one long run. The bias needs no pass of its own: the columns have a line of ones.
The products are thin, so `thin` makes them in pieces.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..window import Window
from . import thin
from .columns import kernel_from_matrix, kernel_matrix, pixels_seen

TILE = 2048 * 1024  # bytes of the convolution's output at a time


def conv_pool(
    x: np.ndarray, w: np.ndarray, b: np.ndarray | None, window: Window, pool: Window, rectify: bool
) -> tuple[np.ndarray, np.ndarray]:
    """max_pool(conv_forward(x, w, b)), or relu of it, and its index, both (N, O, OH, OW).

    The index of a place that relu set to 0 is NO_TAP.
    """
    kernel = kernel_matrix(w, b)
    y = np.empty((len(w), *pool.out, len(x)), x.dtype)
    index = np.empty(y.shape, np.uint8)
    for rows, columns, taps in _tiles(x, len(w), window, pool):
        thin.side_by_side(kernel, columns, out=taps)
        if rectify:
            best, first = np.clip(taps[0], 0, np.inf), np.greater(taps[0], 0).view(np.uint8)
        else:
            best, first = taps[0], np.ones(taps[0].shape, np.uint8)
        for k, seen in enumerate(taps[1:], 2):
            gain = np.greater(seen, best).view(np.uint8)
            gain *= k
            np.maximum(first, gain, out=first)
            np.maximum(best, seen, out=best)
        first -= 1  # from 1, 2, ... to 0, 1, ..., and from 0 to NO_TAP
        y[:, rows] = best.reshape(y[:, rows].shape)
        index[:, rows] = first.reshape(y[:, rows].shape)
    return y.transpose(3, 0, 1, 2), index.transpose(3, 0, 1, 2)


def conv_pool_grads(
    x: np.ndarray, g: np.ndarray, index: np.ndarray, window: Window, pool: Window
) -> tuple[np.ndarray, np.ndarray]:
    """conv_weight_grad(x, max_unpool(g, index)), and the bias's gradient, Σ of that g."""
    grads, winners = g.transpose(1, 2, 3, 0), index.transpose(1, 2, 3, 0)
    dw = np.zeros((len(grads), x.shape[1] * window.size[0] * window.size[1] + 1), x.dtype)
    for rows, columns, taps in _tiles(x, len(grads), window, pool):
        grad = np.ascontiguousarray(grads[:, rows]).reshape(taps[0].shape)
        winner = np.ascontiguousarray(winners[:, rows]).reshape(taps[0].shape)
        for k, tap in enumerate(taps):
            np.multiply(grad, winner == k, out=tap)
        dw += thin.product(taps, columns.swapaxes(1, 2)).sum(0)
    return kernel_from_matrix(dw, x.shape[1], window), dw[:, -1]


def _tiles(
    x: np.ndarray, n_out: int, window: Window, pool: Window
) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """The pooled rows of each tile, their columns, and room for the convolution's output there.

    Shapes: columns (ph·pw, kh·kw·C + 1, rows·OW·N), room (ph·pw, O, rows·OW·N); every tile has the
    same two buffers, so they stay in the cache.
    """
    (ph, pw), (height, width), batch = pool.size, pool.out, len(x)
    (kh, kw), channels = window.size, x.shape[1]
    seen = pixels_seen(x, window)[: height * ph, ..., : width * pw, :]
    by_tap = seen.reshape(height, ph, kh, kw, channels, width, pw, batch)
    by_tap = by_tap.transpose(1, 6, 2, 3, 4, 0, 5, 7)  # (ph, pw, kh, kw, C, rows, OW, N)
    count = min(max(TILE // (ph * pw * n_out * width * batch * x.itemsize), 1), height)
    columns = np.empty((ph * pw, kh * kw * channels + 1, count * width * batch), x.dtype)
    columns[:, -1] = 1
    taps = np.empty((ph * pw, n_out, columns.shape[2]), x.dtype)
    for r in range(0, height, count):
        pixels = by_tap[..., r : r + count, :, :]
        places = pixels.shape[5] * width * batch
        columns[:, :-1, :places].reshape(pixels.shape)[...] = pixels
        yield slice(r, r + count), columns[..., :places], taps[..., :places]
