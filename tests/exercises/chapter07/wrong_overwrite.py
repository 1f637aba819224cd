"""Expect: use += in place of ="""

import numpy as np


def forward(x, w, stride, padding):
    padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    N, _, H, W = padded.shape
    n_out, n_in, kh, kw = w.shape
    y = np.zeros((N, n_out, (H - kh) // stride + 1, (W - kw) // stride + 1))
    for n, o, r, c in np.ndindex(y.shape):
        for k, i, j in np.ndindex(n_in, kh, kw):
            y[n, o, r, c] += w[o, k, i, j] * padded[n, k, r * stride + i, c * stride + j]
    return y


def by_input(g, w, stride, padding, size):
    H, W = size
    padded = np.zeros((len(g), w.shape[1], H + 2 * padding, W + 2 * padding))
    for n, o, r, c in np.ndindex(g.shape):
        for k, i, j in np.ndindex(w.shape[1:]):
            padded[n, k, r * stride + i, c * stride + j] = w[o, k, i, j] * g[n, o, r, c]
    return padded[:, :, padding : padding + H, padding : padding + W]


def by_kernel(x, g, stride, padding, size):
    padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    dw = np.zeros((g.shape[1], x.shape[1], *size))
    for n, o, r, c in np.ndindex(g.shape):
        for k, i, j in np.ndindex(dw.shape[1:]):
            dw[o, k, i, j] += padded[n, k, r * stride + i, c * stride + j] * g[n, o, r, c]
    return dw
