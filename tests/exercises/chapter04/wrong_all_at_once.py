"""Expect: one element at a time"""

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
    slope = (value(f, x + h) - value(f, x - h)) / (2 * h)
    return bool(abs(slope - says.sum()) < 1e-6 * abs(slope))
