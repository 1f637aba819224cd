"""Exercise 8: max-pooling, and who gets the gradient.

x is a NumPy array of images, (N, C, H, W). The window is size×size and moves by `stride`. There is
no padding, so a window never sticks out: there are (H - size)//stride + 1 places down, and places
across by the same rule. Windows overlap where stride is less than size.

1. `pool` returns the largest number of each window.
2. `pool_backward` returns ∂L/∂x for g = ∂L/∂y. If several pixels of a window are the largest, the
   first of them gets all of g, in the order of reading: row by row, each row from left to right.

The images of the check are full of ties.
"""

import numpy as np


def pool(x: np.ndarray, size: int, stride: int) -> np.ndarray:
    """The largest number of each window, (N, C, places down, places across)."""
    raise NotImplementedError


def pool_backward(x: np.ndarray, g: np.ndarray, size: int, stride: int) -> np.ndarray:
    """∂L/∂x, of the shape of x."""
    raise NotImplementedError
