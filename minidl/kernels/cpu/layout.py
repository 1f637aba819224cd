"""How images lie in memory on the CPU: as (H, C, W, N), whatever the shape (N, C, H, W) says.

One row of pixels of a whole batch is then a matrix with a line for each channel, and W·N pixels
side by side in each line. Three things become cheap:
- The rows under a kernel, r … r+kh−1, are one matrix of kh·C lines, without a copy.
- A shift by one pixel is a shift by N numbers, so a shifted view is still a matrix.
- The pixels of a pooling window lie in runs of N or more numbers.
"""

from __future__ import annotations

import numpy as np

from ..window import Window

BLOCK = 8  # images copied at a time, where each image is one piece of memory


def as_rows(images: np.ndarray) -> np.ndarray:
    """Images (N, C, H, W) as contiguous (H, C, W, N); no copy where memory has that order."""
    rows = images.transpose(2, 1, 3, 0)
    if rows.flags.c_contiguous:
        return rows
    copy = np.empty(rows.shape, rows.dtype)
    _fill(copy, rows)
    return copy


def as_images(rows: np.ndarray) -> np.ndarray:
    """Rows (H, C, W, N) as a view (N, C, H, W)."""
    return rows.transpose(3, 1, 0, 2)


def padded_rows(images: np.ndarray, window: Window, value: float = 0.0) -> np.ndarray:
    """Images (N, C, H, W) as (H, C, W, N) in a frame of `value`; `as_rows` where pads are 0."""
    if not any(window.pads):
        return as_rows(images)
    (height, width), (rows, across) = window.padded, window.inside
    padded = np.full((height, images.shape[1], width, len(images)), value, images.dtype)
    _fill(padded[rows, :, across], images.transpose(2, 1, 3, 0))
    return padded


def _fill(target: np.ndarray, rows: np.ndarray) -> None:
    """target[...] = rows, BLOCK images at a time where each image is one piece of memory.

    The copy puts the same pixel of all images side by side, so it reads addresses a whole image
    apart. Often that distance is a multiple of a power of two, and such addresses share a few lines
    of the cache. A few images at a time keep those lines until their next pixel is read.
    """
    batch = rows.shape[3]
    if abs(rows.strides[3]) <= rows.itemsize or batch <= BLOCK:
        target[...] = rows
        return
    for n in range(0, batch, BLOCK):
        target[..., n : n + BLOCK] = rows[..., n : n + BLOCK]
