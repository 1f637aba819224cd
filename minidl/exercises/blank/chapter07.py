"""Exercise 7: a convolution in loops, and where its gradients go.

Everything is a NumPy array. Images x are (N, C, H, W), weights w are (O, C, kh, kw): O output
channels, C input channels. Put a frame of `padding` zeros around each image, then let the window
stand at every place:

    y[n, o, r, c] = Σ over k, i, j of  w[o, k, i, j] · padded x[n, k, r·stride + i, c·stride + j]

1. `forward` returns y. It has ⌊(H + 2·padding - kh)/stride⌋ + 1 rows, and columns by the same rule.
2. `by_input` returns ∂L/∂x for g = ∂L/∂y. size is (H, W), the size of x without its frame.
3. `by_kernel` returns ∂L/∂w for g = ∂L/∂y. size is (kh, kw).

Loops are right here: `np.ndindex` runs through several indices at once, `np.pad` makes the frame.
"""

import numpy as np


def forward(x: np.ndarray, w: np.ndarray, stride: int, padding: int) -> np.ndarray:
    """The convolution of x with w."""
    raise NotImplementedError


def by_input(
    g: np.ndarray, w: np.ndarray, stride: int, padding: int, size: tuple[int, int]
) -> np.ndarray:
    """∂L/∂x, of shape (N, C, *size)."""
    raise NotImplementedError


def by_kernel(
    x: np.ndarray, g: np.ndarray, stride: int, padding: int, size: tuple[int, int]
) -> np.ndarray:
    """∂L/∂w, of shape (O, C, *size)."""
    raise NotImplementedError
