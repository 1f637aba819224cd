"""Does the gradient of a wide tanh network grow or shrink, and at which weights does it turn?

In a wide network every pre-activation is Gaussian, and its second moment settles at a fixed point
q*. From there on each layer multiplies the squared norm of the gradient by the same factor χ₁:

    q* = σ_w²·E tanh²(√q*·z) + σ_b²,   χ₁ = σ_w²·E tanh'²(√q*·z),   z ~ N(0, 1)

χ₁ < 1 is the ordered phase (the gradient vanishes), χ₁ > 1 the chaotic one (it explodes). Between
them lies the critical σ_w².
"""

import math

import numpy as np

import minidl as md

from ...health.theory import gaussian_mean
from .. import sampling
from ..drawing import curves
from ..formulas import critical_variance, tanh_fixed_point
from ..registry import Evidence, prediction

BIASES = 0.05  # σ_b²


@prediction(
    3,
    title="Order and chaos in tanh networks",
    source="Poole et al. 2016; Schoenholz et al. 2017, eq. 19",
    setup="tanh MLPs, width 400, 20 layers, σ_b² = 0.05, float64, at the fixed point q*.",
    predicts="the squared gradient norm grows χ₁ = σ_w²·E tanh'(√q* z)² per layer: 0.759, 1.092, "
    "1.342, 2.371 for σ_w = 1, 1.5, 2, 4 (the norm √χ₁), and 1 at σ_w² = 1.761",
)
def tanh_chaos(seed: int, quick: bool) -> Evidence:
    """The gradient's growth per layer against quadrature, in the ordered and chaotic phases."""
    rng = sampling.stream(seed, 3)
    n, depth, nets = (200, 12, 24) if quick else (400, 20, 24)
    critical = critical_variance(BIASES)
    checks, rows = [], []
    for variance in (1.0, critical, 1.5**2, 2.0**2, 4.0**2):
        q, chi = tanh_fixed_point(variance, BIASES)
        growth = sampling.mean_field_growth(
            rng, md.ops.tanh, weights=variance, biases=BIASES, q=q, n=n, nets=nets, depth=depth
        )
        # At width n a layer's squared gain varies about χ₁ with the relative variance κ/n,
        # κ = 3 E tanh'⁴/(E tanh'²)² - 1. So the mean log of the norm is lower by κ/4n. Twice that
        # is allowed, because q varies as well.
        fourth = gaussian_mean(lambda z: np.cosh(z) ** -8.0, q)
        kappa = 3 * fourth * variance**2 / chi**2 - 1
        what, predicted = f"ln gain, σ_w² = {variance:.4g}", round(math.log(chi) / 2, 12) + 0.0
        checks.append(sampling.mean_check(what, predicted, growth, kappa / 2 / n))
        gain = float(np.exp(growth.mean()))
        row = {"σ_w": math.sqrt(variance), "q*": q, "χ₁": chi, "measured χ₁": gain**2}
        rows.append(row | {"√χ₁": math.sqrt(chi), "measured √χ₁": gain})
    scan = [float(v) for v in np.linspace(0.5, 4.5, 41)]
    widths = [row["σ_w"] for row in rows]
    return Evidence(
        checks,
        "The squared gradient norm grows "
        + ", ".join(f"{row['measured χ₁']:.3f} (χ₁ = {row['χ₁']:.3f})" for row in rows)
        + " times per layer at σ_w = "
        + ", ".join(f"{width:.3g}" for width in widths)
        + f"; it keeps its size at the critical σ_w² = {critical:.3f}.",
        rows,
        curves(
            "σ_w",
            "squared gradient norm, factor per layer",
            {"measured": (widths, [row["measured χ₁"] for row in rows])},
            {"χ₁": (scan, [tanh_fixed_point(s * s, BIASES)[1] for s in scan])},
        ),
    )
