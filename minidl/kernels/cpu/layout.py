"""The memory order of images on the CPU: (H, C, W, N), although the array's shape is (N, C, H, W).

One row of pixels of a whole batch is then a matrix. It has a line for each channel, and W·N numbers
side by side in each line. Three things become cheap:
- The rows under a kernel, r … r+kh−1, are one matrix of kh·C lines, without a copy.
- A shift by one pixel is a shift by N numbers, so a shifted view is still a matrix.
- The pixels of a pooling window lie in runs of N or more numbers.
"""

from __future__ import annotations

import numpy as np

from ..window import Window

BLOCK = 8  # how many images `_fill` copies at a time


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
    """Images (N, C, H, W) as (H, C, W, N) in a frame of `value`; `as_rows` without padding."""
    if not any(window.pads):
        return as_rows(images)
    (height, width), (rows, across) = window.padded, window.inside
    padded = np.full((height, images.shape[1], width, len(images)), value, images.dtype)
    _fill(padded[rows, :, across], images.transpose(2, 1, 3, 0))
    return padded


def _fill(target: np.ndarray, rows: np.ndarray) -> None:
    """target[...] = rows; BLOCK images at a time if each image lies in one piece of memory.

    The copy puts the same pixel of all images side by side, so it reads at addresses that are a
    whole image apart. Often that distance is a multiple of a large power of two. Such addresses
    share a few lines of the cache, and many images would push each other out of it. With a few
    images at a time, their lines are still in the cache when the next pixel is read.
    """
    batch = rows.shape[3]
    if abs(rows.strides[3]) <= rows.itemsize or batch <= BLOCK:
        target[...] = rows
        return
    for n in range(0, batch, BLOCK):
        target[..., n : n + BLOCK] = rows[..., n : n + BLOCK]
