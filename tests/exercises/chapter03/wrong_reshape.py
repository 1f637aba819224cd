"""Expect: `reshape` puts numbers together"""

import numpy as np


def undo_broadcast(g: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return g.reshape(-1, *shape).sum(0)
