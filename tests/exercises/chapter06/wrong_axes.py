"""Expect: along the axes only"""

from collections.abc import Callable

import numpy as np

import minidl as md


def largest_rate(loss: Callable, count: int) -> float:
    theta = md.tensor(np.zeros(count), dtype="float64")
    curvatures = []
    for axis in np.eye(count):
        curvatures.append(axis @ md.hvp(loss, theta, md.tensor(axis, dtype="float64")).numpy())
    return 2 / max(curvatures)
