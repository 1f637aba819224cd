"""Expect: sum the new axes away first"""

import numpy as np


def undo_broadcast(g: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    for axis, length in enumerate(shape):
        if length == 1:
            g = g.sum(axis, keepdims=True)
    while g.ndim > len(shape):
        g = g.sum(0)
    return g
