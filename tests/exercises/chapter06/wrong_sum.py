"""Expect: the root of v·v"""

from collections.abc import Callable

import numpy as np

import minidl as md


def largest_rate(loss: Callable, count: int) -> float:
    theta, v = np.zeros(count), np.ones(count)
    for _ in range(300):
        v = md.hvp(loss, theta, v).numpy()
        v = v / v.sum()
    return 2 / (v @ md.hvp(loss, theta, v).numpy())
