"""Expect: Every pixel of a window gets g"""

import numpy as np


def pool(x, size, stride):
    windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(2, 3))
    return windows[:, :, ::stride, ::stride].max((4, 5))


def pool_backward(x, g, size, stride):
    dx = np.zeros_like(x)
    for n, k, r, c in np.ndindex(g.shape):
        window = dx[n, k, r * stride : r * stride + size, c * stride : c * stride + size]
        window += g[n, k, r, c]
    return dx
