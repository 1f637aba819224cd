"""Exercise 4: write a test that tells right gradients from wrong ones.

`f` is an operation on tensors that works on each number by itself, such as `md.ops.sin`, and `x` is
an array of float64. Compare the gradient of `f(x).sum()` with differences to both sides, for one
element of x at a time:

    (f(x + h) - f(x - h)) / 2h

Return True if all elements agree, and False if not. Gradients may be as large as a million or as
small as a millionth, so compare the difference with the size of the gradient.
"""

from collections.abc import Callable

import numpy as np

import minidl as md


def gradient(f: Callable, x: np.ndarray) -> np.ndarray:
    """What minidl says: the gradient of f(x).sum(), in float64. Given."""
    return md.grad(lambda t: f(t).sum())(x).numpy()


def value(f: Callable, x: np.ndarray) -> float:
    """f(x).sum() as a number, in float64. Given."""
    return f(md.tensor(x, dtype="float64")).sum().item()


def is_right(f: Callable, x: np.ndarray) -> bool:
    """Whether the gradient of f at x agrees with differences of its values."""
    raise NotImplementedError
