"""Convolution as products of image rows: no pixel is copied, and no padding is written.

In (H, C, W, N) memory (see `layout`) the rows of x under the kernel are one matrix of kh·C lines.
For one output row r and one column j of the kernel,

    y[r] (O, W·N)  +=  w_j (O, kh·C)  @  x[r·stride : r·stride + kh] (kh·C, W·N), shifted by j·N

is all the arithmetic. The shift is an offset in memory, and BLAS adds into y. At the border the
shifted view is shorter and the kernel has fewer lines, which replaces padding. The product is
linear in each of y, w and x, so both gradients run the same loop with exchanged roles:

    x[rows]  +=  w_jᵀ @ y[r]              w_j  +=  y[r] @ x[rows]ᵀ

Why it is fast: each product sums over many terms (kh·C), its output row stays in the cache while kw
products are added to it, and no column matrix is written. With a column stride above 1 the pixels
under a kernel column are no matrix; then x is first copied into its kw shifted parts.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from ..window import Window
from .blas import add_product
from .layout import as_images, as_rows
from .product import SMALL, product


def conv_forward(
    x: np.ndarray, w: np.ndarray, b: np.ndarray | None, window: Window, groups: int = 1
) -> np.ndarray:
    """y (N, O, OH, OW) of x (N, C, H, W) and w (O, C, kh, kw); groups is 1."""
    channels, batch, kernel = x.shape[1], len(x), _kernel(w)
    shifted = [part for _, part in _shifted(as_rows(x), window)]
    y = np.empty((window.out[0], w.shape[0], window.out[1] * batch), x.dtype)
    bias = 0.0 if b is None else b.reshape(-1, 1)
    for y_row, steps in zip(y, _steps(window, channels, batch), strict=True):
        y_row[...] = bias
        for j, lines, rows, columns in steps:
            add_product(y_row[:, columns], kernel[j][:, lines], shifted[j][rows])
    return as_images(y.reshape(*y.shape[:2], window.out[1], batch))


def conv_input_grad(g: np.ndarray, w: np.ndarray, window: Window, groups: int = 1) -> np.ndarray:
    """dx (N, C, H, W) of g (N, O, OH, OW)."""
    channels, batch, kernel = w.shape[1], len(g), _kernel(w)
    g_rows = as_rows(g).reshape(window.out[0], g.shape[1], -1)
    dx = np.zeros((window.image[0], channels, window.image[1], batch), g.dtype)
    shifted = list(_shifted(dx, window))
    for g_row, steps in zip(g_rows, _steps(window, channels, batch), strict=True):
        for j, lines, rows, columns in steps:
            add_product(shifted[j][1][rows], kernel[j][:, lines].T, g_row[:, columns])
    for place, part in shifted:
        if window.stride[1] > 1:  # the parts were copies
            dx[:, :, place] += part.reshape(*dx.shape[:2], -1, batch)
    return as_images(dx)


def conv_weight_grad(x: np.ndarray, g: np.ndarray, window: Window, groups: int = 1) -> np.ndarray:
    """dw (O, C, kh, kw) of x (N, C, H, W) and g (N, O, OH, OW)."""
    channels, batch, (kh, kw) = x.shape[1], len(x), window.size
    g_rows = as_rows(g).reshape(window.out[0], g.shape[1], -1)
    shifted = [part for _, part in _shifted(as_rows(x), window)]
    dw = np.zeros((kw, g_rows.shape[1], kh * channels), x.dtype)
    for g_row, steps in zip(g_rows, _steps(window, channels, batch), strict=True):
        for j, lines, rows, columns in steps:
            if dw[j].size <= SMALL:  # pieces and an addition are faster than one long sum
                dw[j][:, lines] += product(g_row[:, columns], shifted[j][rows].T)
            else:
                add_product(dw[j][:, lines], g_row[:, columns], shifted[j][rows].T)
    return dw.reshape(kw, -1, kh, channels).transpose(1, 3, 2, 0)


def _kernel(w: np.ndarray) -> np.ndarray:
    """w (O, C, kh, kw) as kw matrices (O, kh·C), one for each column of the kernel."""
    return np.ascontiguousarray(w.transpose(3, 0, 2, 1)).reshape(w.shape[3], w.shape[0], -1)


def _shifted(rows: np.ndarray, window: Window) -> Iterator[tuple[slice, np.ndarray]]:
    """For each column j of the kernel: the image columns it lies over, and those as (H·C, …·N).

    A view of `rows` where the column stride is 1, else a copy.
    """
    height, channels, _, batch = rows.shape
    for j in range(window.size[1]):
        start, stop = _meets(window, j)
        first = start * window.stride[1] + j * window.dilation[1] - window.pads[2]
        place = slice(first, first + (stop - start - 1) * window.stride[1] + 1, window.stride[1])
        if window.stride[1] == 1:
            flat = rows.reshape(height * channels, -1)
            yield place, flat[:, place.start * batch : place.stop * batch]
        else:
            yield place, rows[:, :, place].copy().reshape(height * channels, -1)


def _meets(window: Window, j: int) -> tuple[int, int]:
    """The output columns c, from start to stop, at which column j of the kernel is on the image."""
    offset, stride = j * window.dilation[1] - window.pads[2], window.stride[1]
    start = max(-(offset // stride), 0)  # least c with c·stride + offset >= 0
    stop = min((window.image[1] - 1 - offset) // stride + 1, window.out[1])
    return start, max(stop, start)


Step = tuple[int, slice, slice, slice]


@lru_cache(maxsize=256)
def _steps(window: Window, channels: int, batch: int) -> list[list[Step]]:
    """For each output row, its products: the kernel column j and three slices.

    The slices are lines of the kernel (O, kh·C), lines of x (H·C, …), columns of y (O, OW·N). The
    rows of a dilated kernel are no neighbours in x, so each of them is a product of its own.
    """
    (height, _), (kh, kw), dilation = window.image, window.size, window.dilation[0]
    steps: list[list[Step]] = [[] for _ in range(window.out[0])]
    for r, row_steps in enumerate(steps):
        top = r * window.stride[0] - window.pads[0]  # the image row under the kernel's first
        inside = [i for i in range(kh) if 0 <= top + i * dilation < height]
        bands = [(inside[0], len(inside))] if inside and dilation == 1 else [(i, 1) for i in inside]
        for first, count in bands:
            row = top + first * dilation
            lines = slice(first * channels, (first + count) * channels)
            rows = slice(row * channels, (row + count) * channels)
            for j in range(kw):
                start, stop = _meets(window, j)
                if start < stop:
                    row_steps.append((j, lines, rows, slice(start * batch, stop * batch)))
    return steps
