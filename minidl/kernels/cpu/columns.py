"""Convolution of few channels: tiles of a column matrix, one matrix product for each output row.

With few input channels (a gray or an RGB image) the products of `rows` would be so small that their
calls cost more than their arithmetic. Here the C·kh·kw pixels under each place are copied one below
the other: the column matrix (im2col). The copies are long runs, because the batch lies innermost in
memory. A line of ones below the pixels makes the bias one more column of w. Then, for each output
row,

    y (O, OW·N) = w @ columns        columns' gradient = wᵀ @ g        dw = g @ columnsᵀ

Why it is fast: only the columns of a few output rows exist at a time. They fit into the cache,
where the product reads them. The backward pass builds them again, which is cheaper than reading
them from memory.
"""

from __future__ import annotations

import numpy as np

from ..window import Window
from . import product
from .layout import as_images, as_rows, padded_rows
from .threads import share, share_and_add

TILE = 2 * 1024 * 1024  # bytes of columns at a time


def conv_forward(
    x: np.ndarray, w: np.ndarray, b: np.ndarray | None, window: Window, groups: int = 1
) -> np.ndarray:
    """y (N, O, OH, OW) of x (N, C, H, W) and w (O, C, kh, kw); groups is 1."""
    kernel = kernel_matrix(w, b)
    y = np.empty((window.out[0], w.shape[0], window.out[1] * len(x)), x.dtype)
    seen = pixels_seen(x, window)

    def compute(tile: slice) -> None:
        np.matmul(kernel, _columns(seen[tile]), out=y[tile])

    share(compute, _row_tiles(kernel.shape[1], window, len(x), x.itemsize))
    return as_images(y.reshape(*y.shape[:2], window.out[1], len(x)))


def conv_input_grad(g: np.ndarray, w: np.ndarray, window: Window, groups: int = 1) -> np.ndarray:
    """dx (N, C, H, W) of g (N, O, OH, OW)."""
    (n_out, channels, kh, kw), batch = w.shape, len(g)
    g_rows = as_rows(g).reshape(window.out[0], n_out, -1)
    kernel = kernel_matrix(w, None)[:, :-1].T
    dx = np.zeros((window.padded[0], channels, window.padded[1], batch), g.dtype)

    def add(band: range) -> None:
        for r in band:
            columns = np.matmul(kernel, g_rows[r]).reshape(kh, kw, channels, window.out[1], batch)
            for i, j, rows, across in window.taps(slice(r, r + 1)):
                dx[rows.start, :, across] += columns[i, j]

    for together in window.bands:
        share(add, together)
    return as_images(dx)[:, :, *window.inside]


def conv_weight_grad(x: np.ndarray, g: np.ndarray, window: Window, groups: int = 1) -> np.ndarray:
    """dw (O, C, kh, kw) of x (N, C, H, W) and g (N, O, OH, OW)."""
    g_rows = as_rows(g).reshape(window.out[0], g.shape[1], -1)
    seen = pixels_seen(x, window)
    lines = x.shape[1] * window.size[0] * window.size[1] + 1

    def summed(tile: slice) -> np.ndarray:
        return product.product(g_rows[tile], _columns(seen[tile]).swapaxes(1, 2)).sum(0)

    dw = share_and_add(summed, _row_tiles(lines, window, len(x), x.itemsize))
    return kernel_from_matrix(dw, x.shape[1], window)


def kernel_matrix(w: np.ndarray, b: np.ndarray | None) -> np.ndarray:
    """w (O, C, kh, kw) as (O, kh·kw·C + 1), the bias in the last column."""
    kernel = np.zeros((len(w), w[0].size + 1), w.dtype)
    kernel[:, :-1] = w.transpose(0, 2, 3, 1).reshape(len(w), -1)
    if b is not None:
        kernel[:, -1] = b
    return kernel


def kernel_from_matrix(matrix: np.ndarray, channels: int, window: Window) -> np.ndarray:
    """The inverse of `kernel_matrix`, without the bias."""
    return matrix[:, :-1].reshape(len(matrix), *window.size, channels).transpose(0, 3, 1, 2)


def pixels_seen(x: np.ndarray, window: Window) -> np.ndarray:
    """A view (OH, kh, kw, C, OW, N) of padded x: for each place, the pixels under the window."""
    rows, (sh, sw), (dh, dw) = padded_rows(x, window), window.stride, window.dilation
    down, channel, across, image = rows.strides
    shape = (window.out[0], *window.size, x.shape[1], window.out[1], len(x))
    # NumPy checks that the strides stay within the buffer; its as_strided would not.
    strides = (sh * down, dh * down, dw * across, channel, sw * across, image)
    return np.ndarray(shape, x.dtype, rows, 0, strides)


def _columns(pixels: np.ndarray) -> np.ndarray:
    """The column matrix of each output row (rows, kh·kw·C + 1, OW·N), from `pixels_seen`."""
    lines = pixels[0, ..., 0, 0].size
    columns = np.empty((len(pixels), lines + 1, pixels[0, 0, 0, 0].size), pixels.dtype)
    columns[:, -1] = 1
    columns[:, :-1].reshape(pixels.shape)[...] = pixels
    return columns


def _row_tiles(lines: int, window: Window, batch: int, itemsize: int) -> list[slice]:
    """The output rows, as many at a time as TILE holds."""
    count = max(TILE // (lines * window.out[1] * batch * itemsize), 1)
    return [slice(r, min(r + count, window.out[0])) for r in range(0, window.out[0], count)]
