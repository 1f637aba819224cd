"""Which matrices can be multiplied a hundred times without losing a direction?

A deep linear network multiplies its weights. Orthogonal matrices keep every length, so the singular
values of their product stay 1. A Gaussian matrix stretches some directions and shrinks others, and
the product does so exponentially: for n×n entries N(0, 1/n), ln s_i grows per layer by

    ½·(ln(2/n) + ψ((n - i + 1)/2)),   ψ the digamma function

(Newman 1986, eq. 7). Two consequences are exact at every depth: per layer, E ln|det| grows by the
sum of these exponents, and E ln ‖Pv‖ of a vector v by the first of them, where P is the product.
The orthogonal product is checked up to rounding, the Gaussian one up to 5 standard errors.
"""

import math
from typing import Any

import numpy as np

import minidl as md

from .. import sampling
from ..drawing import curves
from ..formulas import log_chi_square
from ..registry import Check, Evidence, prediction

ROUNDING = 1e-10  # a relative error that a hundred products of matrices in float64 never reach
N, SHORT, LONG = 8, 5, 10


@prediction(
    7,
    title="Orthogonal products keep every direction, Gaussian ones lose nearly all",
    source="Saxe, McClelland, Ganguli 2013; Newman 1986, eq. 7",
    setup="deep linear networks: 100 orthogonal 64x64 matrices; up to 10 Gaussian 8x8 ones with "
    "variance 1/8, float64.",
    predicts="orthogonal: all singular values 1. Gaussian: ln s_i grows "
    "½(ln(2/n) + ψ((n-i+1)/2)) per layer, so largest over smallest grows exponentially",
)
def orthogonal_products(seed: int, quick: bool) -> Evidence:
    """Singular values of both products, beside the exponents of the Gaussian one."""
    rng = sampling.stream(seed, 7)
    product: Any = np.eye(64)
    for _ in range(100):
        q, r = np.linalg.qr(rng.standard_normal((64, 64)))
        product = md.ops.matmul(q * np.sign(np.diag(r)), product)
    kept = np.linalg.svd(np.asarray(product), compute_uv=False)

    nets = 500 if quick else 4000
    mean, _ = log_chi_square(N)  # ψ(k/2) + ln 2 at k
    exponents = 0.5 * (mean[N - np.arange(N)] - math.log(N))
    logs: list[np.ndarray] = [np.zeros((nets, N))]
    p: Any = np.broadcast_to(np.eye(N), (nets, N, N))
    v: Any = sampling.gaussian(rng, nets, N, 1)
    start = sampling.log_norm(v)
    for _ in range(LONG):
        w = sampling.gaussian(rng, nets, N, N, variance=1 / N)
        p, v = md.ops.matmul(w, p), md.ops.matmul(w, v)
        logs.append(np.log(np.linalg.svd(np.asarray(p), compute_uv=False)))
    spread = [log[:, 0] - log[:, -1] for log in logs]
    growth = (spread[LONG] - spread[SHORT]) / (LONG - SHORT)
    predicted = float(exponents[0] - exponents[-1])
    moved = (sampling.log_norm(np.asarray(v)) - start) / LONG
    determinant, total = logs[LONG].sum(1) / LONG, float(exponents.sum())
    check = sampling.mean_check
    checks = [
        Check("orthogonal: largest s", 1.0, float(kept.max()), ROUNDING),
        Check("orthogonal: smallest s", 1.0, float(kept.min()), ROUNDING),
        check("Gaussian: ln|det| per layer", total, determinant),
        check("Gaussian: ln ‖Pv‖ per layer", float(exponents[0]), moved),
        # The exponents are limits for many layers. From layer 5 to 10 the singular values still
        # move apart a little faster, so 5 % are allowed.
        check("Gaussian: ln(s_max/s_min) per layer", predicted, growth, 0.05 * predicted),
    ]
    layers = list(range(LONG + 1))
    measured = [float(np.mean(s)) for s in spread]
    each = ((logs[LONG] - logs[SHORT]).mean(0) / (LONG - SHORT)).tolist()
    theory = [measured[LONG] - predicted * (LONG - i) for i in layers[1:]]
    return Evidence(
        checks,
        f"After 100 orthogonal layers all singular values are 1 to {abs(kept - 1).max():.0e}; "
        f"after {LONG} Gaussian layers the largest is e^{measured[LONG]:.1f} times the smallest, "
        f"growing e^{growth.mean():.2f} per layer (predicted e^{predicted:.2f}).",
        [{"i": i + 1, "exponent": float(exponents[i]), "measured": each[i]} for i in range(N)],
        curves(
            "matrices multiplied",
            "ln(s_max/s_min)",
            {"Gaussian 8x8": (layers, measured), "orthogonal": (layers, [0.0] * len(layers))},
            {"exponents": (layers[1:], theory)},
        ),
    )
