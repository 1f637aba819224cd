"""Exercise 3: sum a gradient back to the shape of its value.

A value of shape `shape` was repeated, by broadcasting, to the shape of `g`. `g` is the gradient
that comes back, a NumPy array. Return the gradient of the value, as an array of shape `shape`:

- the new axes of g, in front, are summed away;
- where the value has length 1, that axis is summed and stays, with length 1.

An example: shape (2, 1, 4) and g of shape (5, 2, 3, 4). Axis 0 is new, axis 2 had length 1.
"""

import numpy as np


def undo_broadcast(g: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The sum of g over everything that broadcasting repeated."""
    raise NotImplementedError
