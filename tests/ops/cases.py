"""One case for every operation: how to draw inputs, and what its value must be.

A case that is missing fails the suite, so a new operation cannot go untested.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.ops import cases_moved, cases_window
from tests.ops import draws as d
from tests.ops import references as r
from tests.ops.case import Case, filled, given, nonempty, same_shapes, shaped
from tests.ops.draws import Call, Rng, normal, pick


def one(f: Callable[..., float], *domain: Any) -> Case:
    """An operation on one input; domain: low, high and kinks, as `draws.unary` takes them."""
    return Case(d.unary(*domain), r.each(f), same_shapes())


def two(f: Callable[..., float], draw: d.Draw | None = None, **kwargs: Any) -> Case:
    return Case(draw or d.binary(), r.each(f), same_shapes(2), **kwargs)


def positive(rng: Rng, shape: tuple[int, ...]) -> np.ndarray:
    return np.asarray(rng.uniform(0.3, 2.5, shape))


def off_zero(rng: Rng, shape: tuple[int, ...]) -> np.ndarray:
    return np.asarray(positive(rng, shape) * rng.choice((-1.0, 1.0), shape))


def option(draw: d.Draw, **options: Any) -> d.Draw:
    """The draw with each option set to one of its values, or left out half of the time."""

    def with_options(rng: Rng) -> Call:
        arrays, kwargs = draw(rng)
        for name, values in options.items():
            if d.chance(rng):
                kwargs[name] = pick(rng, values)
        return arrays, kwargs

    return with_options


def clipped(rng: Rng) -> Call:
    kwargs = pick(rng, ({"low": -0.5, "high": 0.7}, {"low": -0.5}, {"high": 0.7}, {}))
    return [d.away(normal(rng, d.shape_of(rng)), -0.5, 0.7)], kwargs


def chosen(rng: Rng) -> Call:
    arrays, _ = d.binary()(rng)
    shape = np.broadcast_shapes(*(a.shape for a in arrays))
    return [np.asarray(rng.integers(0, 2, shape, dtype=np.int64).astype(bool)), *arrays], {}


def scores(rng: Rng) -> Call:
    n, k = int(rng.integers(1, 4)), int(rng.integers(1, 5))
    return [3 * normal(rng, (n, k)), rng.integers(0, k, n)], {}


def losses(rng: Rng) -> Call:
    """Predictions and targets, differing by neither 0 nor 1 nor 0.5 (kinks of the losses)."""
    shape = d.shape_of(rng)
    return [t := normal(rng, shape), t - d.away(1.5 * normal(rng, shape), -1, -0.5, 0, 0.5, 1)], {}


def likelihoods(rng: Rng) -> Call:
    shape = d.shape_of(rng)
    return [2 * normal(rng, shape), np.asarray(rng.uniform(0, 1, shape))], {}


CASES: dict[str, Case] = {
    "abs": one(abs, -2, 2, (0.0,)),
    "add": two(lambda a, b: a + b),
    "arccos": one(math.acos, -0.9, 0.9),
    "arcsin": one(math.asin, -0.9, 0.9),
    "arctan": one(math.atan, -3, 3),
    "clip": Case(clipped, r.each(r.clip), same_shapes(low=-0.5, high=0.7)),
    "cos": one(math.cos, -4, 4),
    "cosh": one(math.cosh),
    "divide": two(lambda a, b: a / b, d.binary(normal, off_zero)),
    "elu": Case(option(d.unary(-3, 3, (0.0,)), alpha=(0.5, 2.0)), r.each(r.elu), same_shapes()),
    "erf": one(math.erf, -2.5, 2.5),
    "exp": one(math.exp),
    "expm1": one(math.expm1),
    "gelu": Case(
        option(d.unary(-3, 3), approximate=("none", "tanh")), r.each(r.gelu), same_shapes()
    ),
    "leaky_relu": Case(
        option(d.unary(-2, 2, (0.0,)), slope=(0.2, 0.0)),
        r.each(lambda x, slope=0.01: x if x > 0 else slope * x),
        same_shapes(),
    ),
    "log": one(math.log, 0.2, 4),
    "log1p": one(math.log1p, -0.7, 4),
    "log_sigmoid": one(lambda x: math.log(r.sigmoid(x)), -5, 5),
    "logaddexp": two(lambda a, b: math.log(math.exp(a) + math.exp(b))),
    "maximum": two(max, d.apart),
    "minimum": two(min, d.apart),
    "multiply": two(lambda a, b: a * b),
    "negative": one(lambda x: -x),
    "power": Case(d.binary(positive, normal), r.each(lambda a, b: a**b), same_shapes(2)),
    "reciprocal": Case(
        lambda rng: ([off_zero(rng, d.shape_of(rng))], {}), r.each(lambda x: 1 / x), same_shapes()
    ),
    "relu": one(lambda x: max(x, 0.0), -2, 2, (0.0,)),
    "selu": one(lambda x: 1.0507009873554805 * r.elu(x, 1.6732632423543772), -3, 3, (0.0,)),
    "sigmoid": one(r.sigmoid, -6, 6),
    "silu": one(lambda x: x * r.sigmoid(x), -6, 6),
    "sin": one(math.sin, -4, 4),
    "sinh": one(math.sinh),
    "softplus": one(lambda x: math.log(1 + math.exp(x)), -6, 6),
    "sqrt": one(math.sqrt, 0.2, 4),
    "square": one(lambda x: x * x),
    "subtract": two(lambda a, b: a - b),
    "tan": one(math.tan, -1.2, 1.2),
    "tanh": one(math.tanh),
    "where": Case(
        chosen,
        r.each(lambda c, a, b: a if c else b),
        lambda: [([np.zeros(s, bool), filled(s), filled(s, 1.0)], {}) for s in d.EDGE_SHAPES],
    ),
    # Axes vanish.
    "sum": Case(d.reduction(), r.reduced(math.fsum), same_shapes(), linear=True),
    "mean": Case(d.reduction(), r.reduced(r.mean), nonempty(), linear=True),
    "max": Case(d.reduction(d.spaced), r.reduced(max), nonempty()),
    "min": Case(d.reduction(d.spaced), r.reduced(min), nonempty()),
    "var": Case(d.spread, r.reduced(r.var), nonempty()),
    "std": Case(
        d.spread,
        r.reduced(lambda xs, ddof=0: math.sqrt(r.var(xs, ddof))),
        shaped(((2,), {}), ((2, 0), {"axis": 0}), ((2, 1), {"axis": 0})),
    ),
    "norm": Case(
        d.reduction(off_zero),
        r.reduced(lambda xs: math.sqrt(math.fsum(x * x for x in xs))),
        same_shapes(),
    ),
    "logsumexp": Case(d.reduction(), r.reduced(r.logsumexp), nonempty()),
    "cumsum": Case(
        lambda rng: (lambda x: ([x], {"axis": d.axis_of(rng, x.ndim, False)}))(
            normal(rng, d.shape_of(rng, 1))
        ),
        r.by_line(r.cumulative),
        shaped(((1,), {"axis": 0}), ((0,), {"axis": -1}), ((2, 0), {"axis": 0})),
        linear=True,
    ),
    # Rescaled along axes.
    "softmax": Case(
        d.along_axis, r.by_line(r.softmax), shaped(((1,), {}), ((2, 0), {"axis": 0}), ((0,), {}))
    ),
    "log_softmax": Case(
        d.along_axis,
        r.by_line(lambda xs: [x - r.logsumexp(xs) for x in xs]),
        shaped(((1,), {}), ((2, 0), {"axis": 0}), ((0,), {})),
    ),
    "standardize": Case(
        option(
            lambda rng: (
                lambda x: ([x], {"axis": d.axis_of(rng, x.ndim)} if rng.random() < 0.8 else {})
            )(d.spaced(rng, pick(rng, ((3,), (2, 3), (2, 2, 3))))),
            eps=(1e-3, 0.1),
        ),
        r.standardize,
        nonempty(),
    ),
    # A scalar against a target.
    "mse_loss": Case(losses, r.averaged(lambda p, t: (p - t) ** 2), nonempty(2)),
    "l1_loss": Case(losses, r.averaged(lambda p, t: abs(p - t)), nonempty(2)),
    "huber_loss": Case(option(losses, delta=(0.5, 1.0)), r.averaged(r.huber), nonempty(2)),
    "binary_cross_entropy": Case(likelihoods, r.averaged(r.binary_cross_entropy), nonempty(2)),
    "cross_entropy": Case(scores, r.cross_entropy, given(([filled((1, 1)), np.array([0])], {}))),
    **cases_moved.CASES,
    **cases_window.CASES,
}
