"""Convolution and pooling as their formulas say, one number at a time.

These loops are slow and meant to be read: they are the lesson, and every fast version in this
folder is tested against them. Throughout, p is the pixel of the padded image that lies under tap
(i, j) when the window stands at place (r, c):

    p = (r·stride + i·dilation, c·stride + j·dilation)
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np

from .window import Window


def conv_forward(
    x: np.ndarray, w: np.ndarray, b: np.ndarray | None, window: Window, groups: int
) -> np.ndarray:
    """y[n, o, r, c] = b[o] + Σ_k,i,j w[o, k, i, j] · padded x[n, k of o's group, p]"""
    n_images, (n_out, per_group, _, _) = len(x), w.shape
    padded = _pad(x, window, 0.0)
    y = np.zeros((n_images, n_out, *window.out), x.dtype)
    for n, o, (r, c) in product(range(n_images), range(n_out), _places(window)):
        first = o // (n_out // groups) * per_group  # the first input channel of o's group
        for k, (i, j) in product(range(per_group), _taps(window)):
            y[n, o, r, c] += w[o, k, i, j] * padded[n, first + k, *_pixel(window, r, c, i, j)]
        if b is not None:
            y[n, o, r, c] += b[o]
    return y


def conv_input_grad(g: np.ndarray, w: np.ndarray, window: Window, groups: int) -> np.ndarray:
    """padded dx[n, k of o's group, p] += w[o, k, i, j] · g[n, o, r, c]"""
    n_images, (n_out, per_group, _, _) = len(g), w.shape
    padded = np.zeros((n_images, groups * per_group, *window.padded), g.dtype)
    for n, o, (r, c) in product(range(n_images), range(n_out), _places(window)):
        first = o // (n_out // groups) * per_group
        for k, (i, j) in product(range(per_group), _taps(window)):
            padded[n, first + k, *_pixel(window, r, c, i, j)] += w[o, k, i, j] * g[n, o, r, c]
    return padded[:, :, *window.inside]


def conv_weight_grad(x: np.ndarray, g: np.ndarray, window: Window, groups: int) -> np.ndarray:
    """dw[o, k, i, j] = Σ_n,r,c padded x[n, k of o's group, p] · g[n, o, r, c]"""
    n_images, n_out, per_group = len(x), g.shape[1], x.shape[1] // groups
    padded = _pad(x, window, 0.0)
    dw = np.zeros((n_out, per_group, *window.size), x.dtype)
    for n, o, (r, c) in product(range(n_images), range(n_out), _places(window)):
        first = o // (n_out // groups) * per_group
        for k, (i, j) in product(range(per_group), _taps(window)):
            dw[o, k, i, j] += padded[n, first + k, *_pixel(window, r, c, i, j)] * g[n, o, r, c]
    return dw


def max_pool(x: np.ndarray, window: Window) -> tuple[np.ndarray, np.ndarray]:
    """y[n, k, r, c] = max_i,j x[n, k, p] over the taps on the image; index = i·kw + j of the first.

    A NaN counts as the largest. A window that lies in the padding alone gives -∞ and index 0.
    """
    padded, real = _pad(x, window, -np.inf), _pad(np.ones_like(x), window, 0.0)
    y = np.full((*x.shape[:2], *window.out), -np.inf, x.dtype)
    index = np.zeros(y.shape, np.int64)
    for n, k, (r, c) in product(range(x.shape[0]), range(x.shape[1]), _places(window)):
        pixels = [(n, k, *_pixel(window, r, c, i, j)) for i, j in _taps(window)]
        seen = [(tap, padded[p]) for tap, p in enumerate(pixels) if real[p]]
        if seen:
            taps, values = zip(*seen, strict=True)
            index[n, k, r, c], y[n, k, r, c] = taps[np.argmax(values)], np.max(values)
    return y, index


def max_unpool(g: np.ndarray, index: np.ndarray, window: Window) -> np.ndarray:
    """padded dx[n, k, p of the first maximum] += g[n, k, r, c]; `index` is from max_pool"""
    padded = np.zeros((*g.shape[:2], *window.padded), g.dtype)
    for n, k, (r, c) in product(range(g.shape[0]), range(g.shape[1]), _places(window)):
        i, j = divmod(int(index[n, k, r, c]), window.size[1])
        padded[n, k, *_pixel(window, r, c, i, j)] += g[n, k, r, c]
    return padded[:, :, *window.inside]


def max_take(x: np.ndarray, index: np.ndarray, window: Window) -> np.ndarray:
    """y[n, k, r, c] = x[n, k, p of the first maximum], 0 where that is padding"""
    padded = _pad(x, window, 0.0)
    y = np.zeros((*x.shape[:2], *window.out), x.dtype)
    for n, k, (r, c) in product(range(x.shape[0]), range(x.shape[1]), _places(window)):
        i, j = divmod(int(index[n, k, r, c]), window.size[1])
        y[n, k, r, c] = padded[n, k, *_pixel(window, r, c, i, j)]
    return y


def avg_pool(x: np.ndarray, window: Window) -> np.ndarray:
    """y[n, k, r, c] = Σ_i,j padded x[n, k, p] / (kh·kw); the padding's zeros count."""
    padded = _pad(x, window, 0.0)
    y = np.zeros((*x.shape[:2], *window.out), x.dtype)
    for n, k, (r, c) in product(range(x.shape[0]), range(x.shape[1]), _places(window)):
        seen = [padded[n, k, *_pixel(window, r, c, i, j)] for i, j in _taps(window)]
        y[n, k, r, c] = sum(seen) / len(seen)
    return y


def avg_unpool(g: np.ndarray, window: Window) -> np.ndarray:
    """padded dx[n, k, p] += g[n, k, r, c] / (kh·kw)"""
    padded = np.zeros((*g.shape[:2], *window.padded), g.dtype)
    share = window.size[0] * window.size[1]
    for n, k, (r, c) in product(range(g.shape[0]), range(g.shape[1]), _places(window)):
        for i, j in _taps(window):
            padded[n, k, *_pixel(window, r, c, i, j)] += g[n, k, r, c] / share
    return padded[:, :, *window.inside]


def _places(window: Window) -> Iterator[tuple[int, int]]:
    return product(range(window.out[0]), range(window.out[1]))


def _taps(window: Window) -> Iterator[tuple[int, int]]:
    return product(range(window.size[0]), range(window.size[1]))


def _pixel(window: Window, r: int, c: int, i: int, j: int) -> tuple[int, int]:
    (sh, sw), (dh, dw) = window.stride, window.dilation
    return r * sh + i * dh, c * sw + j * dw


def _pad(x: np.ndarray, window: Window, value: float) -> np.ndarray:
    top, bottom, left, right = window.pads
    pads = ((0, 0), (0, 0), (top, bottom), (left, right))
    return np.pad(x, pads, constant_values=value)
