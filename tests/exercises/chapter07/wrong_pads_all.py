"""Expect: frames all four axes"""

import numpy as np


def forward(x, w, stride, padding):
    x = np.pad(x, padding)
    N, _, H, W = x.shape
    n_out, C, kh, kw = w.shape
    y = np.zeros((N, n_out, (H - kh) // stride + 1, (W - kw) // stride + 1))
    for n, o, r, c in np.ndindex(y.shape):
        for k, i, j in np.ndindex(C, kh, kw):
            y[n, o, r, c] += w[o, k, i, j] * x[n, k, r * stride + i, c * stride + j]
    return y


def by_input(g, w, stride, padding, size):
    N, (_, C, kh, kw) = len(g), w.shape
    dx = np.zeros((N, C, size[0] + 2 * padding, size[1] + 2 * padding))
    for n, o, r, c in np.ndindex(g.shape):
        for k, i, j in np.ndindex(C, kh, kw):
            dx[n, k, r * stride + i, c * stride + j] += w[o, k, i, j] * g[n, o, r, c]
    return dx[:, :, padding : padding + size[0], padding : padding + size[1]]


def by_kernel(x, g, stride, padding, size):
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    dw = np.zeros((g.shape[1], x.shape[1], *size))
    for n, o, r, c in np.ndindex(g.shape):
        for k, i, j in np.ndindex(x.shape[1], *size):
            dw[o, k, i, j] += x[n, k, r * stride + i, c * stride + j] * g[n, o, r, c]
    return dw
