"""Expect: needs a v of length 1"""

from collections.abc import Callable

import numpy as np

import minidl as md


def largest_rate(loss: Callable, count: int) -> float:
    theta, v = np.zeros(count), np.ones(count)
    for _ in range(300):
        v = md.hvp(loss, theta, v).numpy()
        v = v / np.abs(v).max()
    return 2 / (v @ md.hvp(loss, theta, v).numpy())
