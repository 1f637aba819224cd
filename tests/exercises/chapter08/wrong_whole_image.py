"""Expect: in the whole image"""

import numpy as np


def pool(x, size, stride):
    N, C, H, W = x.shape
    y = np.zeros((N, C, (H - size) // stride + 1, (W - size) // stride + 1))
    for n, k, r, c in np.ndindex(y.shape):
        y[n, k, r, c] = x[
            n, k, r * stride : r * stride + size, c * stride : c * stride + size
        ].max()
    return y


def pool_backward(x, g, size, stride):
    dx = np.zeros_like(x)
    for n, k, r, c in np.ndindex(g.shape):
        w = x[n, k, r * stride : r * stride + size, c * stride : c * stride + size]
        i, j = (indices[0] for indices in np.where(x[n, k] == w.max()))
        dx[n, k, i, j] += g[n, k, r, c]
    return dx
