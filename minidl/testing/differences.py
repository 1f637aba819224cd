"""Derivatives by differences: the numbers that a gradient is compared with.

A function here takes and returns lists of arrays. With a cotangent u for its outputs and a
direction d for its inputs, the projected gradient is the one number

    uᵀJd = Σ u·(y(x + hd) - y(x - hd))/2h   by differences,
         = Σ g·d,  g = Jᵀu                  by a backward pass.

Truncation costs h²·y''', rounding eps·y/h; h = eps^(1/3) balances them.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np

Arrays = list[np.ndarray]

EPS = float(np.finfo(np.float64).eps)
STEP = EPS ** (1 / 3)


def directions_like(arrays: Arrays, rng: np.random.Generator) -> Arrays:
    """Random signs times uniform(0.5, 1.5): no element escapes a check by a value near 0."""
    signs = [rng.choice((-1.0, 1.0), a.shape) for a in arrays]
    return [np.asarray(s * rng.uniform(0.5, 1.5, np.shape(s))) for s in signs]


def scaled(directions: Arrays, values: Arrays) -> Arrays:
    """Directions in units of each element's own size, at least 0.01."""
    pairs = zip(directions, values, strict=True)
    return [np.asarray(d * np.maximum(np.abs(x), 0.01)) for d, x in pairs]


def along(values: Arrays, directions: Arrays, step: float) -> Arrays:
    """x + step·d."""
    return [np.asarray(x + step * d) for x, d in zip(values, directions, strict=True)]


def dot(first: Arrays, second: Arrays) -> float:
    """Σ a·b over all arrays."""
    return float(sum(np.sum(a * b) for a, b in zip(first, second, strict=True)))


def dot_abs(first: Arrays, second: Arrays) -> float:
    """Σ |a·b| over all arrays: what the terms of `dot` amount to before they cancel."""
    return float(sum(np.sum(np.abs(a * b)) for a, b in zip(first, second, strict=True)))


class Function(Protocol):
    """Arrays to arrays."""

    def __call__(self, arrays: Arrays) -> Arrays: ...

    def floor(self, arrays: Arrays) -> float:
        """The size of the numbers that an output is computed from, where it may be far smaller."""
        ...


def rounded(f: Function, values: Arrays, y: Arrays, u: Arrays, step: float) -> float:
    """How far rounding to eps can move Σ u·y/h."""
    least = f.floor(values)
    return EPS / step * dot_abs([np.maximum(np.abs(a), least) for a in y], u)


def terms(values: Arrays, y: Arrays, u: Arrays) -> float:
    """The size Σ|u·y|/|x| of what a gradient is summed from: one that is 0 may have cancelled."""
    size = max((float(np.abs(x).max(initial=0)) for x in values), default=0.0)
    return dot_abs(y, u) / max(size, 0.01)


@dataclass(frozen=True)
class Projection:
    """uᵀJd twice, and how far apart in units of the terms it is summed from.

    rounding: how far the rounding of y alone, 2·eps·Σ|u·y|/h, can drive them apart, in the same
    units: no difference over this step resolves less.
    """

    numeric: float
    analytic: float
    error: float
    rounding: float

    def within(self, bound: float) -> bool:
        return self.error <= bound + self.rounding


def project(
    f: Function, values: Arrays, gradient: Arrays, u: Arrays, d: Arrays, step: float
) -> Projection:
    """Compare the central difference along d with gradient·d."""
    plus, minus = f(along(values, d, step)), f(along(values, d, -step))
    dy = [(p - m) / (2 * step) for p, m in zip(plus, minus, strict=True)]
    numeric, analytic = dot(dy, u), dot(gradient, d)
    if not np.isfinite(numeric):
        return Projection(numeric, analytic, float("inf"), 0.0)
    size = dot_abs(dy, u) + dot_abs(gradient, d)
    if size == 0:
        return Projection(numeric, analytic, 0.0, 0.0)
    rounding = 2 * rounded(f, values, plus, u, step)
    return Projection(numeric, analytic, abs(numeric - analytic) / size, rounding / size)


def vanishes(gaps: list[float]) -> bool:
    """Whether gaps at steps that are each a tenth of the one before tend to 0.

    The limit of the first kind of term that truncation leaves, h·y'' at a kink of the slope, is a
    factor 10. Rounding may spoil half of that.
    """
    return all(np.isfinite(large) and small <= large / 5 for large, small in pairwise(gaps))


@dataclass(frozen=True)
class Kink:
    """A direction in which the function has two slopes."""

    order: int
    left: float
    right: float


def find_kink(f: Function, values: Arrays, u: Arrays, d: Arrays, order: int) -> Kink | None:
    """The two slopes along d, where they differ however close one looks.

    The slopes of a smooth function on a step h differ by h·y'', eight times less on h/8.
    """
    here = f(values)

    def slopes(step: float) -> tuple[Arrays, Arrays]:
        plus, minus = f(along(values, d, step)), f(along(values, d, -step))
        right = [(p - y) / step for p, y in zip(plus, here, strict=True)]
        left = [(y - m) / step for m, y in zip(minus, here, strict=True)]
        return left, right

    def jump(pair: tuple[Arrays, Arrays]) -> float:
        return dot_abs([right - left for left, right in zip(*pair, strict=True)], u)

    step = STEP / 8
    near, far = slopes(step), slopes(STEP)
    rounding = 100 * rounded(f, values, here, u, step)
    if jump(near) > rounding and not jump(near) < 0.5 * jump(far):
        return Kink(order, dot(near[0], u), dot(near[1], u))
    return None


def coordinates(
    f: Function, values: Arrays, u: Arrays, which: int, indices: list[tuple[int, ...]]
) -> np.ndarray:
    """∂(Σ u·y)/∂x of one input at the indices, one central difference each."""
    found = []
    for index in indices:
        d = [np.zeros_like(x) for x in values]
        d[which][index] = max(abs(float(values[which][index])), 0.01)
        plus, minus = f(along(values, d, STEP)), f(along(values, d, -STEP))
        change = [(p - m) / (2 * STEP) for p, m in zip(plus, minus, strict=True)]
        found.append(dot(change, u) / float(d[which][index]))
    return np.array(found)
