"""Pooling in few passes over memory, in tiles that fit into the cache.

Pooling does little arithmetic. Its time depends on how often each pixel is read and written. The
pixels under one tap are a strided view of x, in runs of only N numbers. They are first copied to
one dense block. The passes over that block (comparison, maximum, index) then run at full speed. A
tile of output rows and channels is so small that these passes stay in the cache. The index has one
byte for each place. The backward pass needs only g and the index, neither x nor y.

Three cases are left to `portable`: a NaN, whose tap comparisons cannot find; a g that is not
finite, because 0·∞ would give a NaN; and windows whose pixels are all -∞, where padding must not be
chosen.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from .. import portable
from ..window import NO_TAP, Window
from .layout import as_images, as_rows, padded_rows
from .threads import share

Tile = tuple[slice, slice]  # output rows, channels

TILE = 1024 * 1024  # bytes of one tap's dense block


def max_pool(x: np.ndarray, window: Window, rectify: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """The largest pixel under each place, and which tap saw it first, as uint8.

    With `rectify`, relu of that; where it is 0, the index is NO_TAP.
    """
    rows, (batch, channels) = padded_rows(x, window, -np.inf), x.shape[:2]
    y = _empty_images(x, window)
    index = np.empty((window.out[0], channels, window.out[1], batch), np.uint8)

    def compute(tile: Tile) -> None:
        places, some = tile
        taps = window.taps(places)
        _, _, down, across = next(taps)
        best = rows[down, some, across].copy()
        first = np.zeros(best.shape, np.uint8)
        for i, j, down, across in taps:
            seen = np.ascontiguousarray(rows[down, some, across])
            gain = np.greater(seen, best).view(np.uint8)
            gain *= i * window.size[1] + j
            np.maximum(first, gain, out=first)  # the last tap with a gain has the largest number
            np.maximum(best, seen, out=best)
        if rectify:
            off = np.less_equal(best, 0).view(np.uint8)
            off *= NO_TAP
            np.maximum(first, off, out=first)
            np.clip(best, 0, math.inf, out=best)
        y[some, places] = best.transpose(1, 0, 2, 3)
        index[places, some] = first

    share(compute, _tiles(window, x))
    if math.isnan(y.max()) or (any(window.pads) and y.min() == -math.inf):
        return portable.max_pool(x, window, rectify)
    return y.transpose(3, 0, 1, 2), as_images(index)


def max_unpool(g: np.ndarray, index: np.ndarray, window: Window) -> np.ndarray:
    """Each g at the pixel that was the maximum, added up where places share a pixel."""
    if not math.isfinite(g.sum()):
        return portable.max_unpool(g, index, window)
    g_rows, index_rows = g.transpose(2, 1, 3, 0), as_rows(index)
    dx = _padded_like(g, window)

    def add(tile: Tile) -> None:
        places, some = tile
        grad, winner = np.ascontiguousarray(g_rows[places, some]), index_rows[places, some]
        for i, j, down, across in window.taps(places):
            chosen = winner == i * window.size[1] + j
            if window.tiles:
                np.multiply(grad, chosen, out=dx[down, some, across])
            else:
                dx[down, some, across] += grad * chosen

    _share_adding(add, window, g)
    return as_images(dx)[:, :, *window.inside]


def avg_pool(x: np.ndarray, window: Window) -> np.ndarray:
    """The mean of the pixels under each place; the padding's zeros count."""
    rows, y = padded_rows(x, window), _empty_images(x, window)

    def compute(tile: Tile) -> None:
        places, some = tile
        taps = window.taps(places)
        _, _, down, across = next(taps)
        total = rows[down, some, across].copy()
        for _, _, down, across in taps:
            total += rows[down, some, across]
        total *= 1.0 / (window.size[0] * window.size[1])
        y[some, places] = total.transpose(1, 0, 2, 3)

    share(compute, _tiles(window, x))
    return y.transpose(3, 0, 1, 2)


def avg_unpool(g: np.ndarray, window: Window) -> np.ndarray:
    """An equal share of each g at every pixel under its place."""
    g_rows, dx = g.transpose(2, 1, 3, 0), _padded_like(g, window)

    def add(tile: Tile) -> None:
        places, some = tile
        part = g_rows[places, some] * (1.0 / (window.size[0] * window.size[1]))
        for _, _, down, across in window.taps(places):
            if window.tiles:
                dx[down, some, across] = part
            else:
                dx[down, some, across] += part

    _share_adding(add, window, g)
    return as_images(dx)[:, :, *window.inside]


def _empty_images(x: np.ndarray, window: Window) -> np.ndarray:
    """An empty array (C, OH, OW, N) for pooled images: flattening C, H, W needs no copy."""
    return np.empty((x.shape[1], *window.out, len(x)), x.dtype)


def _padded_like(g: np.ndarray, window: Window) -> np.ndarray:
    """An array (H, C, W, N) for the padded gradient: zeros, unless each pixel is written once."""
    room = np.empty if window.tiles else np.zeros
    return room((window.padded[0], g.shape[1], window.padded[1], len(g)), g.dtype)


def _share_adding(add: Callable[[Tile], None], window: Window, g: np.ndarray) -> None:
    """Call `add` for every tile, but never for two at once whose windows share a pixel."""
    if window.tiles:
        share(add, _tiles(window, g))
        return
    by_channels: dict[int, list[Tile]] = {}  # windows over different channels share none
    for tile in _tiles(window, g):
        by_channels.setdefault(tile[1].start, []).append(tile)

    def add_all(tiles: list[Tile]) -> None:
        for tile in tiles:
            add(tile)

    share(add_all, by_channels.values())


def _tiles(window: Window, x: np.ndarray) -> list[Tile]:
    """Output rows and channels that together fill about TILE bytes."""
    (oh, ow), channels = window.out, x.shape[1]
    lines = max(TILE // (ow * len(x) * x.itemsize), 1)  # pairs of an output row and a channel
    some, rows = min(lines, channels), max(lines // channels, 1)
    return [
        (slice(r, min(r + rows, oh)), slice(c, min(c + some, channels)))
        for r in range(0, oh, rows)
        for c in range(0, channels, some)
    ]
