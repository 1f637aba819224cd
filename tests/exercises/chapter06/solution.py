"""Power iteration on the Hessian, then 2/λ."""

from collections.abc import Callable

import numpy as np

import minidl as md


def largest_rate(loss: Callable, count: int) -> float:
    theta = md.tensor(np.zeros(count), dtype="float64")
    v = np.random.default_rng(0).normal(size=count)
    for _ in range(200):
        v = v / np.linalg.norm(v)
        hv = md.hvp(loss, theta, md.tensor(v, dtype="float64")).numpy()
        largest, v = v @ hv, hv
    return 2 / largest
