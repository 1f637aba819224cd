"""How far do networks differ that were drawn from the same distribution with other seeds?

Let M = ‖x_L‖²/‖x_0‖² of a ReLU network with He weights. Its mean is 1, but each layer multiplies it
by an independent random factor 2χ²_K/n with K ~ Bin(n, ½). The logarithms add up, so depth adds
spread and width takes it away:

    mean ln M ≈ -5β/2,   var ln M ≈ 5β,   β = Σ 1/n_l, with the width n_l of layer l

With depth M falls far below 1 in most networks, and a few networks with a huge M keep the mean at
1. For the same reason E M² is not tested: a few networks of a million decide it. Widths of 32 or
more are used. A narrow layer may have no unit that is on, and then ln M is -inf; with 32 units that
has the probability 2⁻³² per layer.
"""

import math
from typing import Any

import numpy as np

import minidl as md

from ...health.theory import seed_spread
from .. import sampling
from ..drawing import curves
from ..formulas import relu_log_moments
from ..registry import Check, Evidence, prediction


@prediction(
    2,
    title="Depth adds spread between seeds, width takes it away",
    source="Hanin, Rolnick 2018, theorem 5; Hanin, Nica 2018",
    setup="He-Gaussian ReLU MLPs without bias, float64, M = ‖x_L‖²/‖x_0‖² over many seeds.",
    predicts="E M = 1, while ln M has mean about -5β/2 and variance about 5β, β = Σ 1/n_l",
)
def depth_width(seed: int, quick: bool) -> Evidence:
    """Mean and variance of ln M over networks, against the exact ones of Σ ln(2χ²_K/n)."""
    rng = sampling.stream(seed, 2)
    nets = 400 if quick else 2000
    checks, rows = [], []
    for n, depth in ((100, 5), (64, 8), (32, 8), (32, 16), (32, 32)):
        x = sampling.gaussian(rng, nets, n, 1)
        y: Any = x
        with md.no_grad():
            for _ in range(depth):
                y = sampling.relu_layer(rng, nets, n, 2 / n)(y)
        log_m = 2 * (sampling.log_norm(np.asarray(y)) - sampling.log_norm(x))
        mean, spread = (depth * m for m in relu_log_moments(n))
        found = {"mean ln M": float(log_m.mean()), "var ln M": float(log_m.var(ddof=1))}
        # ln M is a sum of `depth` terms and nearly normal, so its sample variance has a relative
        # error of √(2/nets); the terms' skewness and kurtosis widen it by less than a fifth.
        error = {"mean": math.sqrt(spread / nets), "var": 1.2 * spread * math.sqrt(2 / nets)}
        for which, exact in (("mean", mean), ("var", spread)):
            what = f"{which} ln M"
            tolerance = sampling.SIGMAS * error[which]
            checks.append(Check(f"{what}, L={depth}, n={n}", exact, found[what], tolerance))
        beta, _ = seed_spread([n] * depth)
        if depth / n <= 0.05:  # large M are rare enough to test E M: var M = (1 + 5/n)^L - 1
            error_m = math.sqrt(((1 + 5 / n) ** depth - 1) / nets)
            average = float(np.exp(log_m).mean())
            tolerance = sampling.SIGMAS * error_m
            checks.append(Check(f"E M, L={depth}, n={n}", 1.0, average, tolerance))
        exactly = {"exact mean": mean, "-5β/2": -2.5 * beta, "exact variance": spread}
        rows.append({"L": depth, "n": n, "β": beta} | found | exactly | {"5β": 5 * beta})
    by = {(row["n"], row["L"]): row for row in rows}
    deep = [by[32, depth] for depth in (8, 16, 32)]
    betas = [row["β"] for row in rows]
    return Evidence(
        checks,
        "At width 32 the variance of ln M over seeds is "
        + ", ".join(f"{row['var ln M']:.2f}" for row in deep)
        + " for 8, 16 and 32 layers (exactly "
        + ", ".join(f"{row['exact variance']:.2f}" for row in deep)
        + f"); at 8 layers width 64 has {by[64, 8]['var ln M']:.2f}.",
        rows,
        curves(
            "β = Σ 1/n",
            "ln M over seeds",
            {f"{what}, measured": (betas, [row[key] for row in rows])
             for what, key in (("variance", "var ln M"), ("mean", "mean ln M"))},
            {f"{what}, exact": (betas, [row[f"exact {what}"] for row in rows])
             for what in ("variance", "mean")},
        ),
    )  # fmt: skip
