"""Expect: the mean over the uses"""

import numpy as np


def undo_broadcast(g: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    g = g.mean(tuple(range(g.ndim - len(shape))))
    return g.mean(tuple(i for i, n in enumerate(shape) if n == 1), keepdims=True)
