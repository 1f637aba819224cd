"""By which factor does one ReLU layer multiply the signal, and the gradient on its way back?

A layer sums n products of weights and inputs, and ReLU passes half of the second moment. So each
layer multiplies both norms by the same factor, and a deep network by its power:

    gain = √(nσ²/2) · e^(-1.25/n)

The first part is 1 for He's σ² = 2/n. The second is the cost of a finite width: the norm varies by
chance, and the mean of the logarithm of a varying number is below the logarithm of its mean.

With z ~ N(0, 1)ⁿ a layer multiplies ‖x‖² by σ²·‖relu(z)‖², whatever x is, so the logarithm of its
gain has an exactly known mean and variance. The gradient has the same mean: because the signs of
its Gaussian start are random, it does not matter that the gates depend on the weights.
"""

import math
from typing import Any

import numpy as np

import minidl as md

from .. import sampling
from ..drawing import curves
from ..formulas import relu_log_moments
from ..registry import Check, Evidence, prediction

DEPTH = 20
WEIGHTS = (  # name, width n, variance
    ("He, 2/n", 256, 2 / 256),
    ("1/n", 256, 1 / 256),
    ("N(0, 1)", 256, 1.0),
    ("He, 2/n", 32, 2 / 32),
)


@prediction(
    1,
    title="Signal and gradient grow by one factor per layer",
    source="He et al. 2015, eqs. 10 and 14; Hanin, Rolnick 2018",
    setup="ReLU MLPs of width n, weights N(0, σ²), no bias, float64; ‖x_l‖ and ‖dL/dx_l‖.",
    predicts="both grow √(nσ²/2)·e^(-1.25/n) per layer: about 1 for He, 0.707 for 1/n, 11.3 for "
    "N(0, 1) at n = 256",
)
def he_gain(seed: int, quick: bool) -> Evidence:
    """The gain per layer, forward and backward, for four ways to draw the weights."""
    rng = sampling.stream(seed, 1)
    checks, rows, lines, theory = [], [], {}, {}
    for name, n, variance in WEIGHTS:
        nets = (120 if quick else 1000) if n == 32 else (12 if quick else 40)
        mean, spread = relu_log_moments(n)
        predicted = math.exp((mean + math.log(n * variance / 2)) / 2)
        layers = [sampling.relu_layer(rng, nets, n, variance) for _ in range(DEPTH)]
        x, u = sampling.gaussian(rng, nets, n, 1), sampling.gaussian(rng, nets, n, 1)
        signals, gradients = sampling.through(layers, x, u)
        # ln ‖x‖² has the variance `spread` per layer. The first and the last gradient add that of
        # ln χ²_n, about 2/n, each.
        error = math.sqrt((DEPTH * spread + 2 * 2 / n) / nets) / DEPTH / 2
        tolerance = predicted * math.expm1(sampling.SIGMAS * error)
        row: dict[str, Any] = {"weights": name, "n": n, "√(nσ²/2)": math.sqrt(n * variance / 2)}
        row["predicted"] = predicted
        ends = {"signal": (signals[0], signals[-1]), "gradient": (gradients[-1], gradients[0])}
        for what, (first, last) in ends.items():
            growth = sampling.log_norm(last) - sampling.log_norm(first)
            row[what] = math.exp(growth.mean() / DEPTH)
            checks.append(Check(f"{what}, {name}, n={n}", predicted, row[what], tolerance))
        rows.append(row)
        norms = [float(np.exp(sampling.log_norm(s).mean())) for s in signals]
        lines[f"{name}, n={n}"] = (list(range(DEPTH + 1)), [v / norms[0] for v in norms])
        theory[f"theory, {name}, n={n}"] = ([0, DEPTH], [1.0, float(predicted**DEPTH)])
    checks.append(_library_check(seed, 4 if quick else 10))
    he, half, one, narrow = (row["signal"] for row in rows)
    return Evidence(
        checks,
        f"At n = 256 the signal grows {he:.3f}, {half:.3f} and {one:.2f} times per layer for He, "
        f"1/n and N(0, 1); at n = 32 even He loses {1 - narrow:.1%} per layer (e^(-1.25/n) says "
        f"{-math.expm1(-1.25 / 32):.1%}).",
        rows,
        curves("layer", "‖x_l‖/‖x_0‖, geometric mean", lines,
               theory, log_y=True),
    )  # fmt: skip


def _library_check(seed: int, nets: int) -> Check:
    """The same gain through the library's own layers and its he_normal, in float32."""
    n = 256
    md.manual_seed(seed)
    x = sampling.stream(seed, 101).standard_normal((1, n)).astype(np.float32)
    growth = []
    for _ in range(nets):
        layers: list[md.nn.Module] = []
        for _ in range(DEPTH):
            layers += [md.nn.Dense(n, n, init="he_normal"), md.nn.ReLU()]
        y = md.nn.Sequential(*layers)(x).numpy()
        growth.append(float(sampling.log_norm(y)[0] - sampling.log_norm(x)[0]))
    mean, spread = relu_log_moments(n)
    error = math.sqrt(spread / DEPTH / nets) / 2
    return Check(
        "signal, Dense(256, 256, init='he_normal')",
        math.exp(mean / 2),
        math.exp(float(np.mean(growth)) / DEPTH),
        math.expm1(sampling.SIGMAS * error),
    )
