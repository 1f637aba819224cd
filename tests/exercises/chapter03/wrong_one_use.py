"""Expect: add all of them"""

import numpy as np


def undo_broadcast(g: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    g = g[(0,) * (g.ndim - len(shape))]
    return g[tuple(slice(0, 1) if n == 1 else slice(None) for n in shape)]
