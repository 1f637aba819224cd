"""Optimizer steps on the CPU, in place: as few passes over memory as the formulas allow.

Each function changes theta and the slots as the formula of the same name in `optim/rules.py` says,
and leaves g alone. A formula in array code allocates an array for every operation. Here one
temporary array is used again and again, and `add_multiple` multiplies and adds in one pass.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from .blas import add_multiple
from .threads import MOST, share

CHUNK = 1 << 18  # elements of a parameter at a time: the arrays of a step then fit into a cache
PART = 1 << 19  # numbers of parameters and slots in one part: with fewer, a thread wakes too late

Step = tuple[np.ndarray, np.ndarray, int, list[np.ndarray], dict[str, Any]]


def update(rule: str, steps: Sequence[Step]) -> None:
    """Take steps (theta, g, t, slots, options) by the function named `rule`, in place.

    Every large parameter is cut into equal pieces, one for each part. A small parameter, or one
    whose memory has gaps, is not cut and belongs to the first part.
    """
    work = sum(theta.size * (1 + len(slots)) for theta, _, _, slots, _ in steps)
    count = min(max(work // PART // 2 * 2, 1), MOST)  # even, for two threads
    if count > 1 and _overlap([theta for theta, *_ in steps]):
        count = 1  # parameters that share memory are changed one after the other, in order
    parts: list[list[Step]] = [[] for _ in range(count)]
    for step in steps:
        pieces = [step] if step[0].size <= CHUNK else _pieces(count, step)
        for part, piece in zip(parts, pieces, strict=False):
            part.append(piece)
    formula = globals()[rule]

    def take(part: list[Step]) -> None:
        for theta, g, t, slots, options in part:
            # Without slots each number is read only once, so chunks in the cache would not help.
            if not slots or theta.size <= CHUNK or theta.ndim > 1:
                formula(theta, g, t, *slots, **options)
                continue
            for start in range(0, theta.size, CHUNK):
                some = slice(start, start + CHUNK)
                formula(theta[some], g[some], t, *(slot[some] for slot in slots), **options)

    share(take, parts)


def _overlap(arrays: list[np.ndarray]) -> bool:
    """Whether two of the arrays may share memory."""
    ends = sorted(map(np.lib.array_utils.byte_bounds, arrays))
    return any(after[0] < before[1] for before, after in pairwise(ends))


def _pieces(count: int, step: Step) -> Iterator[Step]:
    """A parameter's step as `count` steps, each of a piece of its arrays, flattened.

    The step stays whole where the arrays cannot be flattened without a copy.
    """
    theta, g, t, slots, options = step
    alike = [array.T if theta.flags.f_contiguous else array for array in (theta, g, *slots)]
    if not all(array.flags.c_contiguous for array in alike):
        yield step
        return
    flat = [array.reshape(-1) for array in alike]
    length = -(-theta.size // count)
    for start in range(0, theta.size, length):
        theta, g, *slots = (array[start : start + length] for array in flat)
        yield theta, g, t, slots, options


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
    """Adam; AdamW where `decoupled` is True.

    The corrections 1 - βᵗ of m̂ and v̂ are applied to the rate and to √v, which saves two passes.
    """
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
