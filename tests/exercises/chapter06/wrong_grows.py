"""Expect: divide it by its length in each round"""

from collections.abc import Callable

import numpy as np

import minidl as md


def largest_rate(loss: Callable, count: int) -> float:
    v = md.tensor(np.random.default_rng(0).normal(size=count), dtype="float64")
    for _ in range(200):
        v = md.hvp(loss, v, v)
    return 2 / (v * md.hvp(loss, v, v)).sum().item()
