"""New axes are summed away; axes of length 1 are summed and kept."""

import numpy as np


def undo_broadcast(g: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    new = g.ndim - len(shape)
    g = g.sum(tuple(range(new)))
    ones = tuple(i for i, n in enumerate(shape) if n == 1)
    return g.sum(ones, keepdims=True)
