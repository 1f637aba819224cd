"""Expect: `x.copy()`"""

from collections.abc import Callable

import numpy as np

import minidl as md


def gradient(f: Callable, x: np.ndarray) -> np.ndarray:
    return md.grad(lambda t: f(t).sum())(x).numpy()


def value(f: Callable, x: np.ndarray) -> float:
    return f(md.tensor(x, dtype="float64")).sum().item()


def is_right(f: Callable, x: np.ndarray) -> bool:
    says = gradient(f, x)
    h = 1e-5
    for i in range(len(x)):
        up = x
        down = x
        up[i] += h
        down[i] -= h
        slope = (value(f, up) - value(f, down)) / (2 * h)
        if abs(slope - says[i]) > 1e-6 * abs(slope):
            return False
    return True
