"""P3, P4 and P9: mean fields, where the width is infinite and one number rules the gradient."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

import minidl as md

from . import theory
from .registry import Check, Result, experiment, holds

BIAS_VARIANCE = 0.05


def _gradient_growth(
    rng: np.random.Generator,
    activation: Callable[[Any], md.Tensor],
    weight_variance: float,
    bias_variance: float,
    q: float,
    n: int,
    nets: int,
    depth: int,
) -> np.ndarray:
    """ln of the gradient norm's growth per layer, of each network.

    x_l = W·φ(x_{l-1}) + b, begun at the fixed point: E x² = q.
    """

    def layer() -> theory.Layer:
        w = theory.gaussian(rng, nets, n, n, variance=weight_variance / n)
        b = theory.gaussian(rng, nets, n, 1, variance=bias_variance)
        return lambda x: w @ activation(x) + b

    layers = [layer() for _ in range(depth)]
    x = theory.gaussian(rng, nets, n, 1, variance=q)
    _, gradients = theory.through(layers, x, theory.gaussian(rng, nets, n, 1))
    return (theory.log_norm(gradients[0]) - theory.log_norm(gradients[-1])) / depth


@experiment(
    name="tanh-chaos",
    number="P3",
    title="Order and chaos in tanh networks",
    source="Poole et al. 2016; Schoenholz et al. 2017, eq. 19",
    setup="tanh MLPs, width 400, 20 layers, σ_b² = 0.05, float64, at the fixed point q*",
    prediction="the squared gradient norm grows χ₁ = σ_w²·E tanh'(√q* z)² per layer: 0.759, 1.092, "
    "1.342, 2.371 for σ_w = 1, 1.5, 2, 4 (the norm √χ₁), and 1 at σ_w² = 1.761",
)
def tanh_chaos(seed: int, quick: bool) -> Result:
    """The gradient's growth per layer against quadrature, in the ordered and chaotic phases."""
    rng = theory.stream(seed, 3)
    n, depth, nets = (200, 12, 24) if quick else (400, 20, 24)
    critical = theory.critical_variance(BIAS_VARIANCE)
    checks, rows = [], []
    for variance in (1.0, critical, 1.5**2, 2.0**2, 4.0**2):
        q, chi = theory.tanh_fixed_point(variance, BIAS_VARIANCE)
        growth = _gradient_growth(rng, md.ops.tanh, variance, BIAS_VARIANCE, q, n, nets, depth)
        # A layer's squared gain varies by κ/n about χ₁, κ = 3 E tanh'⁴/(E tanh'²)² - 1, and the
        # log of the norm lies κ/4n lower; q, which wanders too, may move it as much again.
        fourth = theory.gaussian_mean(lambda z: np.cosh(z) ** -8.0, q)
        kappa = 3 * fourth * variance**2 / chi**2 - 1
        label = f"σ_w² = {variance:.4g}"
        checks.append(
            theory.mean_check(
                f"ln gain, {label}", round(math.log(chi) / 2, 12) + 0.0, growth, kappa / 2 / n
            )
        )
        rows.append(
            {
                "σ_w": math.sqrt(variance),
                "q*": q,
                "χ₁": chi,
                "measured χ₁": float(np.exp(2 * growth.mean())),
                "√χ₁": math.sqrt(chi),
                "measured √χ₁": float(np.exp(growth.mean())),
            }
        )
    scan = [float(v) for v in np.linspace(0.5, 4.5, 41)]
    return Result(
        checks,
        holds(checks),
        "The squared gradient norm grows "
        + ", ".join(f"{r['measured χ₁']:.3f} (χ₁ = {r['χ₁']:.3f})" for r in rows)
        + " times per layer at σ_w = "
        + ", ".join(f"{r['σ_w']:.3g}" for r in rows)
        + f"; it keeps its size at the critical σ_w² = {critical:.3f}.",
        rows,
        {
            "title": "Poole 2016, Schoenholz 2017: the gradient's growth in tanh networks",
            "x": "σ_w",
            "y": "squared gradient norm, factor per layer",
            "lines": {"measured": ([r["σ_w"] for r in rows], [r["measured χ₁"] for r in rows])},
            "predicted": {
                "χ₁": (scan, [theory.tanh_fixed_point(s * s, BIAS_VARIANCE)[1] for s in scan])
            },
        },
    )


@experiment(
    name="selu",
    number="P9",
    title="SELU keeps the signal, and lets the gradient grow a little",
    source="Klambauer et al. 2017",
    setup="SELU MLPs, width 400, 20 layers, LeCun-normal weights N(0, 1/n), float64",
    prediction="the signal keeps E x² = 1 before each activation; the squared gradient norm grows "
    "E selu'(z)² = 1.0716 per layer",
)
def selu(seed: int, quick: bool) -> Result:
    """E selu(z)² and E selu'(z)² by quadrature without a node at the kink; the measured growth."""
    rng = theory.stream(seed, 9)
    n, depth, nets = (200, 12, 40) if quick else (400, 20, 60)

    def slope(z: np.ndarray) -> np.ndarray:
        return np.asarray(md.vjp(md.ops.selu, z)[1](np.ones_like(z)))

    second = theory.gaussian_mean(lambda z: np.asarray(md.ops.selu(z)) ** 2)
    chi = theory.gaussian_mean(lambda z: slope(z) ** 2)
    kappa = 3 * theory.gaussian_mean(lambda z: slope(z) ** 4) / chi**2 - 1
    growth = _gradient_growth(rng, md.ops.selu, 1.0, 0.0, 1.0, n, nets, depth)
    measured = float(np.exp(2 * growth.mean()))
    checks = [
        Check("E selu(z)²", 1.0, second, 1e-9),
        # κ/4n is the log's shift at finite width (see tanh-chaos), again with as much for q.
        theory.mean_check("ln gain of the gradient", math.log(chi) / 2, growth, kappa / 2 / n),
    ]
    layers = list(range(depth + 1))
    return Result(
        checks,
        holds(checks),
        f"The squared gradient norm grows {measured:.4f} times per layer, predicted {chi:.4f}: "
        f"{chi**50:.0f} times over 50 layers, though E selu(z)² is {second:.6f}.",
        [{"E selu²": second, "E selu'²": chi, "measured": measured, "n": n, "layers": depth}],
        {
            "title": "SELU: growth of the squared gradient",
            "x": "layers passed backwards",
            "y": "squared gradient norm, relative",
            "lines": {"measured": (layers, [measured**i for i in layers])},
            "predicted": {"1.0716 per layer": (layers, [chi**i for i in layers])},
        },
    )
