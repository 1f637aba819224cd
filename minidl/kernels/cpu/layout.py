"""How images lie in memory on the CPU: H, C, W, N behind the logical N, C, H, W.

One row of pixels of a whole batch is then a matrix with a line for each channel and the row's
W·N pixels side by side. Three things become cheap:
- the rows under a kh×kw kernel, r … r+kh−1, are one matrix of kh·C lines, without a copy;
- a shift by one pixel is a shift by N numbers, so a shifted view is still a matrix;
- neighbours in a pooling window meet in runs of N or more numbers.
"""

from __future__ import annotations

import numpy as np

from ..window import Window

BLOCK = 8  # images copied at a time where the batch lies outermost


def as_rows(images: np.ndarray) -> np.ndarray:
    """Logical (N, C, H, W) as contiguous (H, C, W, N); no copy if they lie so already."""
    rows = images.transpose(2, 1, 3, 0)
    if rows.flags.c_contiguous:
        return rows
    copy = np.empty(rows.shape, rows.dtype)
    _fill(copy, rows)
    return copy


def as_images(rows: np.ndarray) -> np.ndarray:
    """(H, C, W, N) as a logical (N, C, H, W) view."""
    return rows.transpose(3, 1, 0, 2)


def padded_rows(images: np.ndarray, window: Window, value: float = 0.0) -> np.ndarray:
    """Logical (N, C, H, W) as (H, C, W, N) in a frame of `value`; `as_rows` where pads are 0."""
    if not any(window.pads):
        return as_rows(images)
    (height, width), (rows, across) = window.padded, window.inside
    padded = np.full((height, images.shape[1], width, len(images)), value, images.dtype)
    _fill(padded[rows, :, across], images.transpose(2, 1, 3, 0))
    return padded


def _fill(target: np.ndarray, rows: np.ndarray) -> None:
    """target[...] = rows; by BLOCK images where each image lies in one piece.

    The same pixel of all images is then read from places a whole image apart, often a multiple of
    a power of two, which all fall on the same few lines of the cache and drive each other out.
    """
    batch = rows.shape[3]
    if abs(rows.strides[3]) <= rows.itemsize or batch <= BLOCK:
        target[...] = rows
        return
    for n in range(0, batch, BLOCK):
        target[..., n : n + BLOCK] = rows[..., n : n + BLOCK]
