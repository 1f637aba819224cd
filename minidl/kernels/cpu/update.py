"""Optimizer steps on the CPU, in place: as few passes over memory as the formulas allow.

Each function changes theta and the slots as the formula of the same name in `optim/rules.py` says,
and leaves g alone. A formula in array code allocates an array for every operation. Here one
temporary array is used again and again, and `add_multiple` multiplies and adds in one pass.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .blas import add_multiple
from .threads import share

CHUNK = 1 << 16  # elements of a parameter at a time: an optimizer's arrays then fit the cache
PART = 1 << 20  # elements for which waking a thread pays

Step = tuple[np.ndarray, np.ndarray, int, list[np.ndarray], dict[str, Any]]


def update(rule: str, steps: Sequence[Step]) -> None:
    """Take steps (theta, g, t, slots, options) by the function named `rule`, in place.

    Large parameters are taken in chunks. A part of the work is about PART elements of them.
    """
    parts: list[list[Step]] = [[]]
    left = PART
    for theta, g, t, slots, options in steps:
        for arrays in _chunks(theta, g, *slots):
            if left <= 0:
                parts.append([])
                left = PART
            parts[-1].append((arrays[0], arrays[1], t, arrays[2:], options))
            left -= arrays[0].size

    def take(some: list[Step]) -> None:
        for theta, g, t, slots, options in some:
            globals()[rule](theta, g, t, *slots, **options)

    share(take, parts)


def _chunks(*arrays: np.ndarray) -> Iterator[list[np.ndarray]]:
    """Arrays of one shape, cut alike into views of CHUNK elements; whole where that copies."""
    theta = arrays[0]
    by_column = theta.flags.f_contiguous
    alike = [array.T if by_column else array for array in arrays]
    if theta.size <= CHUNK or not all(array.flags.c_contiguous for array in alike):
        yield list(arrays)
        return
    flat = [array.reshape(-1) for array in alike]
    for start in range(0, theta.size, CHUNK):
        yield [array[start : start + CHUNK] for array in flat]


def sgd(
    theta: np.ndarray, g: np.ndarray, t: int, *velocity: np.ndarray,
    lr: float, momentum: float, nesterov: bool, weight_decay: float,
) -> None:  # fmt: skip
    """Gradient descent; `velocity` is given where there is momentum."""
    g = _decayed(theta, g, weight_decay)
    for v in velocity:
        v *= momentum
        v += g
        if nesterov:
            free = np.multiply(v, momentum, out=np.empty_like(theta))
            g = np.add(g, free, out=free)
        else:
            g = v
    add_multiple(theta, -lr, g)


def rmsprop(
    theta: np.ndarray, g: np.ndarray, t: int, square: np.ndarray,
    *, lr: float, alpha: float, eps: float, weight_decay: float,
) -> None:  # fmt: skip
    """RMSProp."""
    g = _decayed(theta, g, weight_decay)
    free = np.square(g, out=np.empty_like(theta))
    _average(square, alpha, free)
    np.sqrt(square, out=free)
    free += eps
    add_multiple(theta, -lr, np.divide(g, free, out=free))


def adam(
    theta: np.ndarray, g: np.ndarray, t: int, mean: np.ndarray, square: np.ndarray,
    *, lr: float, betas: tuple[float, float], eps: float, weight_decay: float, decoupled: bool,
) -> None:  # fmt: skip
    """Adam; AdamW where `decoupled` is True."""
    if decoupled:
        theta *= 1 - lr * weight_decay
    else:
        g = _decayed(theta, g, weight_decay)
    b1, b2 = betas
    _average(mean, b1, g)
    free = np.square(g, out=np.empty_like(theta))
    _average(square, b2, free)
    np.sqrt(square, out=free)
    free /= math.sqrt(1 - b2**t)
    free += eps
    add_multiple(theta, -lr / (1 - b1**t), np.divide(mean, free, out=free))


def _decayed(theta: np.ndarray, g: np.ndarray, weight_decay: float) -> np.ndarray:
    return g + weight_decay * theta if weight_decay else g


def _average(mean: np.ndarray, beta: float, x: np.ndarray) -> None:
    """mean ← β·mean + (1 − β)·x."""
    mean *= beta
    add_multiple(mean, 1 - beta, x)
