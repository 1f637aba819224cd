"""gradcheck: proof by numbers that a function's gradient is the derivative of its value."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import ConfigError, GradientError
from ..functional import jvp
from ..tensor import Tensor
from .diagnosis import explain
from .differences import (
    STEP,
    Arrays,
    Kink,
    along,
    directions_like,
    dot,
    dot_abs,
    find_kink,
    project,
    scaled,
    vanishes,
)
from .problem import Gradient, Problem
from .properties import PROPERTIES

BOUND = 1e-7
# A correct gradient agrees at one of these; a wrong one at none of those that can tell.
STEPS = (STEP, STEP * 10, STEP / 10, STEP * 100, STEP / 100, STEP / 1000)
TRIES = 5


@dataclass
class Report:
    """The result of a check that passed.

    worst: the largest error of all directions, relative to the terms of the sum. It is at most
    about `bound`: rounding may add to it.
    errors: one for each direction and order. kinks: directions with two slopes; a point beside each
    was checked instead.
    """

    name: str
    order: int
    checks: tuple[str, ...]
    bound: float = BOUND
    errors: list[float] = field(default_factory=list)
    kinks: list[Kink] = field(default_factory=list)

    @property
    def worst(self) -> float:
        return max(self.errors, default=0.0)

    def __str__(self) -> str:
        kinks = f", {len(self.kinks)} directions at a kink" if self.kinks else ""
        return (
            f"gradcheck of {self.name}: order {self.order}, {', '.join(self.checks)}: worst error "
            f"{self.worst:.1e} of {len(self.errors)} (bound {self.bound:.0e}){kinks}"
        )


def gradcheck(
    f: Callable[..., Tensor],
    *inputs: Any,
    order: int = 1,
    directions: int = 3,
    check: tuple[str, ...] = ("projection",),
    kinks: str = "detect",
    seed: int = 0,
) -> Report:
    """Check the gradient of f at the inputs against differences; a Report, or GradientError.

    Shapes: any inputs, any output. Float inputs are copied to float64 and differentiated by;
    integers and bools are constants. order: 1, or 2 for the second derivative as well. directions:
    how many random ones to check. seed: decides the random numbers.
    Formula: |uᵀJd by differences - Σ g·d| <= 1e-7·(Σ|dy·u| + Σ|g·d|) for random cotangents u and
    directions d, g = Jᵀu; order=2 does the same to the function (x, u) ↦ Jᵀu.
    Numerics: where the gradient is 0, as of x³ at 0, both sides vanish and no relative error is
    small. There the gradient is right if the difference of the two sides vanishes with the step:
    if it is at least 5 times smaller whenever the step is 10 times smaller, from 6e-4 to 6e-9.
    With a wrong gradient the difference does not vanish.
    check: "projection" (the formula above); "forward-mode" (jvp against the backward pass);
    "dtype" (float32 in, float32 out and back, near the float64 gradient); "layout" (strided,
    Fortran-ordered, reversed and broadcast inputs and cotangents); "graph" (shared inputs, repeated
    backward passes, linearity in the cotangent, no_grad).
    kinks: a direction with two slopes is checked beside the kink and reported ("detect"), is an
    error ("raise"), or is compared as it is ("ignore").
    Raises: GradientError saying which input and element is wrong and by which factor;
    ConfigError for an unknown option.
    """
    _options(order, directions, check, kinks)
    rng = np.random.default_rng(seed)
    problem = Problem(f, inputs)
    report = Report(problem.name, order, tuple(check))
    y = _value(problem)
    u = directions_like(y, rng)
    problems = [problem] if order == 1 else [problem, Gradient(problem, u)]
    if "projection" in check:
        for each in problems:
            _project(each, directions, kinks, rng, report)
    if "forward-mode" in check:
        _forward_mode(problem, rng, report)
    for name in check:
        if name in PROPERTIES:
            PROPERTIES[name](problem, u, rng)
    return report


def _options(order: int, directions: int, check: tuple[str, ...], kinks: str) -> None:
    if order not in (1, 2):
        raise ConfigError(f"gradcheck: expected order 1 or 2, got {order!r}")
    if directions < 1:
        raise ConfigError(f"gradcheck: expected directions >= 1, got {directions!r}")
    known = ("projection", "forward-mode", *PROPERTIES)
    unknown = [name for name in check if name not in known]
    if isinstance(check, str) or not check or unknown:
        raise ConfigError(f"gradcheck: expected check to be a tuple of {known}, got {check!r}")
    if kinks not in ("detect", "ignore", "raise"):
        raise ConfigError(f"gradcheck: expected kinks 'detect', 'ignore' or 'raise', got {kinks!r}")


def _value(problem: Problem) -> Arrays:
    """The outputs, after a check that they are float64, finite, and the same in two calls."""
    y, again = problem(problem.values), problem(problem.values)
    for a, b in zip(y, again, strict=True):
        if a.dtype != np.float64:
            raise problem.error(f"expected a float64 result from float64 inputs, got {a.dtype}")
        bad = np.argwhere(~np.isfinite(a))
        if len(bad):
            raise problem.error(
                f"expected finite values, got {a[tuple(bad[0])]} at {bad[0].tolist()} of the result"
            )
        if not np.array_equal(a, b):
            raise problem.error(
                "f gives different values for the same inputs; fix its random numbers"
            )
    return y


def _project(
    problem: Problem, directions: int, kinks: str, rng: np.random.Generator, report: Report
) -> None:
    for _ in range(directions):
        values = problem.values
        for _ in range(TRIES):
            kink, error = _one_direction(problem, values, kinks, rng, report)
            if kink is None:
                report.errors.append(error)
                break
            report.kinks.append(kink)
            if kinks == "raise":
                raise problem.error(
                    f"a kink: slope {kink.left:.6g} on one side, {kink.right:.6g} on the other"
                )
            away = scaled(directions_like(problem.values, rng), problem.values)
            values = along(problem.values, away, 1e-3)
        else:
            raise problem.error(
                f"nothing could be checked: {TRIES} points nearby have two slopes each; is f "
                "continuous, and computed in float64 throughout?"
            )


def _one_direction(
    problem: Problem, values: Arrays, kinks: str, rng: np.random.Generator, report: Report
) -> tuple[Kink | None, float]:
    """The error in one direction, or the kink that was found there; GradientError if wrong."""
    u = directions_like(problem(values), rng)
    d = scaled(directions_like(values, rng), values)
    gradient = problem.gradient(values, u)
    tried = {}
    for step in STEPS:
        tried[step] = found = project(problem, values, gradient, u, d, step)
        if found.tells and found.within(BOUND):
            return None, found.error
    telling = [found.error for found in tried.values() if found.tells]
    if not telling:  # a constant, or nearly one
        return None, min(found.error for found in tried.values())
    if vanishes([abs(tried[s].numeric - tried[s].analytic) for s in sorted(tried, reverse=True)]):
        return None, 0.0
    if kinks != "ignore":
        kink = find_kink(problem, values, u, d, problem.order)
        if kink is not None:
            return kink, 0.0
    head = problem.error(
        f"wrong gradient (relative error {min(telling):.1e}, bound {BOUND:.0e}); its graph ends in "
        f"'{problem.ends_in()}'"
    )
    raise GradientError(explain(str(head), problem, values, gradient, u, d, BOUND))


def _forward_mode(problem: Problem, rng: np.random.Generator, report: Report) -> None:
    """Check that uᵀ(J·d), with J·d by jvp, is the same number as g·d by a backward pass."""
    u = directions_like(problem(problem.values), rng)
    d = scaled(directions_like(problem.values, rng), problem.values)
    primals, tangents = (tuple(map(problem.put, arrays)) for arrays in (problem.values, d))
    y, slope = jvp(lambda *xs: problem.call(list(xs))[0], primals, tangents)
    gradient = problem.gradient(problem.values, u)
    forward, reverse = dot([slope.numpy()], u), dot(gradient, d)
    size = dot_abs([slope.numpy()], u) + dot_abs(gradient, d) + dot_abs([y.numpy()], u)
    if slope.shape != y.shape:
        raise problem.error(f"forward mode gives shape {slope.shape}, the value has {y.shape}")
    if not abs(forward - reverse) <= 1e-10 * size:
        raise problem.error(
            f"forward mode (jvp) gives uᵀJd = {forward:.12g}, the backward pass {reverse:.12g}"
        )
