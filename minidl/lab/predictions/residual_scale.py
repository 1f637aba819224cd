"""What does a residual branch add to signal and gradient?

A block x + a·W·relu(x) with He weights adds a branch whose squared norm is a²·‖x‖², and which is
uncorrelated with x. So the squares add up, and over L blocks the squared norms of signal and
gradient grow

    (1 + a²)^L:   2^L for a = 1,   e for a = 1/√L and many blocks,   1 for a = 0
"""

import math
from typing import Any

import numpy as np

import minidl as md

from .. import sampling
from ..drawing import curves
from ..registry import Evidence, prediction

DEPTH, NETS = 16, 60


@prediction(
    6,
    title="A residual branch doubles the signal unless it is scaled",
    source="Hanin, Rolnick 2018; Zhang, Dauphin, Ma 2019 (Fixup)",
    setup="x + a·W·relu(x), He weights, width 256, L = 16, float64.",
    predicts="the squared norms of signal and gradient grow (1 + a²)^L: 2^L for a = 1, e for "
    "a = 1/√L, 1 for a = 0",
)
def residual_scale(seed: int, quick: bool) -> Evidence:
    """Growth of signal and gradient through L residual blocks."""
    rng = sampling.stream(seed, 6)
    n = 128 if quick else 256
    checks, rows, lines, theory = [], [], {}, {}
    layers = list(range(DEPTH + 1))

    def block(a: float) -> sampling.Layer:
        w = a * sampling.gaussian(rng, NETS, n, n, variance=2 / n)
        return lambda h: h + w @ md.ops.relu(h)

    for name, a in (("1", 1.0), ("1/√L", 1 / math.sqrt(DEPTH)), ("0", 0.0)):
        x, u = sampling.gaussian(rng, NETS, n, 1), sampling.gaussian(rng, NETS, n, 1)
        signals, gradients = sampling.through([block(a) for _ in range(DEPTH)], x, u)
        predicted = DEPTH * math.log1p(a * a)
        row: dict[str, Any] = {"a": name, "predicted": math.exp(predicted)}
        ends = {"signal": (signals[0], signals[-1]), "gradient": (gradients[-1], gradients[0])}
        for what, (first, last) in ends.items():
            growth = 2 * (sampling.log_norm(last) - sampling.log_norm(first))
            # The mean of the growth is (1 + a²)^L. The mean of its log is lower, by half of the
            # relative variance of a block: 4a²/n from the product of x with the branch, 5a⁴/n from
            # the branch's squared norm and the share of x that is above 0. Twice that is allowed.
            allowance = DEPTH * (4 * a**2 + 5 * a**4) / (1 + a**2) ** 2 / n + 1e-12
            label = f"ln growth of {what}, a = {name}"
            checks.append(sampling.mean_check(label, predicted, growth, allowance))
            row[what] = float(np.exp(growth.mean()))
        rows.append(row)
        squares = [float(np.exp(2 * sampling.log_norm(s).mean())) for s in signals]
        lines[f"a = {name}"] = (layers, [s / squares[0] for s in squares])
        theory[f"(1 + a²)^l, a = {name}"] = (layers, [(1 + a * a) ** i for i in layers])
    one, scaled, none = rows
    return Evidence(
        checks,
        f"Over {DEPTH} blocks the squared signal grows {one['signal']:.3g} times for a = 1 "
        f"(2^L = {2**DEPTH}), {scaled['signal']:.2f} for a = 1/√L ((1 + 1/L)^L = "
        f"{scaled['predicted']:.2f}, e in the limit) and {none['signal']:.2f} for a = 0; "
        f"the gradient {one['gradient']:.3g}, {scaled['gradient']:.2f} and "
        f"{none['gradient']:.2f} times.",
        rows,
        curves("block", "‖x_l‖²/‖x_0‖²",
               lines, theory, log_y=True),
    )  # fmt: skip
