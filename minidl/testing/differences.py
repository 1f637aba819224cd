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
LOST = 0.1  # of a difference: where rounding may make up so much of it, it tells nothing


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
    """Σ |a·b| over all arrays: the sum of the sizes of the terms of `dot`, which may cancel."""
    return float(sum(np.sum(np.abs(a * b)) for a, b in zip(first, second, strict=True)))


class Function(Protocol):
    """A function from arrays to arrays."""

    def __call__(self, arrays: Arrays) -> Arrays: ...

    def floor(self, arrays: Arrays) -> float:
        """The least size of the numbers that an output is computed from.

        It matters for rounding: a sum may be far smaller than its terms, whose rounding it has.
        """
        ...


def rounded(f: Function, values: Arrays, y: Arrays, u: Arrays, step: float) -> float:
    """How much the rounding of y, a relative error of eps, can change Σ u·y/h at the step h."""
    least = f.floor(values)
    return EPS / step * dot_abs([np.maximum(np.abs(a), least) for a in y], u)


def terms(values: Arrays, y: Arrays, u: Arrays) -> float:
    """The size Σ|u·y|/|x| of the terms that a gradient is summed from.

    A gradient may be far smaller, even 0, where large terms cancel. Its rounding error does not.
    """
    size = max((float(np.abs(x).max(initial=0)) for x in values), default=0.0)
    return dot_abs(y, u) / max(size, 0.01)


@dataclass(frozen=True)
class Projection:
    """uᵀJd by differences (numeric) and by a backward pass (analytic), and their error.

    error: |numeric - analytic| over the size of the terms that both are summed from.
    rounding: the part of it that rounding of y alone can cause, 2·eps·Σ|u·y|/h in the same units.
    A difference over this step cannot show less.
    tells: whether this step can tell a right gradient from a wrong one. It cannot where rounding
    may have caused most of the difference, or where both sides are made of zeros: on a very small
    step the change of y may have been lost.
    """

    numeric: float
    analytic: float
    error: float
    rounding: float
    tells: bool = True

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
        return Projection(numeric, analytic, 0.0, 0.0, tells=False)
    rounding = 2 * rounded(f, values, plus, u, step) / size
    error = abs(numeric - analytic) / size
    return Projection(numeric, analytic, error, rounding, tells=rounding < LOST)


def vanishes(gaps: list[float]) -> bool:
    """Whether the gaps tend to 0 as the step shrinks; each is at a tenth of the step before it.

    Each gap must be at most a fifth of the one before. The truncation error falls at least as fast
    as h, so that it becomes 10 times smaller. A factor of 2 is left for rounding.
    """
    return all(np.isfinite(large) and small <= large / 5 for large, small in pairwise(gaps))


@dataclass(frozen=True)
class Kink:
    """A direction in which the function has two slopes, left and right of the point.

    order: 1 for the function itself, 2 for its gradient.
    """

    order: int
    left: float
    right: float


def find_kink(f: Function, values: Arrays, u: Arrays, d: Arrays, order: int) -> Kink | None:
    """The two slopes along d, if they still differ on a small step; else None.

    The left and the right slope of a smooth function on a step h differ by h·y'', and on h/8 by an
    eighth of that. At a kink the difference stays.
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
