"""Expect: read row by row"""

import numpy as np


def pool(x, size, stride):
    windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(2, 3))
    return windows[:, :, ::stride, ::stride].max((4, 5))


def pool_backward(x, g, size, stride):
    dx = np.zeros_like(x)
    for n, k, r, c in np.ndindex(g.shape):
        window = dx[n, k, r * stride : r * stride + size, c * stride : c * stride + size]
        seen = x[n, k, r * stride : r * stride + size, c * stride : c * stride + size]
        across, down = divmod(int(seen.T.argmax()), size)
        window[down, across] += g[n, k, r, c]
    return dx
