"""Expect: [padding:-padding] is empty"""

import numpy as np


def forward(x: np.ndarray, w: np.ndarray, stride: int, padding: int) -> np.ndarray:
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    n_out, _, kh, kw = w.shape
    rows, columns = ((s - k) // stride + 1 for s, k in zip(x.shape[2:], (kh, kw), strict=True))
    y = np.zeros((len(x), n_out, rows, columns))
    for n, o, r, c in np.ndindex(y.shape):
        window = x[n, :, r * stride : r * stride + kh, c * stride : c * stride + kw]
        y[n, o, r, c] = (w[o] * window).sum()
    return y


def by_input(
    g: np.ndarray, w: np.ndarray, stride: int, padding: int, size: tuple[int, int]
) -> np.ndarray:
    kh, kw = w.shape[2:]
    dx = np.zeros((len(g), w.shape[1], size[0] + 2 * padding, size[1] + 2 * padding))
    for n, o, r, c in np.ndindex(g.shape):
        top, left = r * stride, c * stride
        dx[n, :, top : top + kh, left : left + kw] += w[o] * g[n, o, r, c]
    return dx[:, :, padding:-padding, padding:-padding]


def by_kernel(
    x: np.ndarray, g: np.ndarray, stride: int, padding: int, size: tuple[int, int]
) -> np.ndarray:
    return np.zeros((g.shape[1], x.shape[1], *size))
