"""Does SELU keep the gradient as it keeps the signal?

SELU's two constants are chosen so that a standard normal input leaves with mean 0 and variance 1.
They fix the forward pass. The gradient is multiplied by the slopes instead, whose mean square is
a little more than 1:

    E selu(z)² = 1,   E selu'(z)² = 1.0716,   z ~ N(0, 1)

So the squared norm of the gradient grows 1.0716 times per layer. The integrals are computed without
a node at 0, where selu has a kink.
"""

import math

import numpy as np

import minidl as md

from ...health.theory import gaussian_mean
from .. import sampling
from ..drawing import curves
from ..registry import Check, Evidence, prediction


@prediction(
    9,
    title="SELU keeps the signal, and lets the gradient grow a little",
    source="Klambauer et al. 2017",
    setup="SELU MLPs, width 400, 20 layers, LeCun-normal weights N(0, 1/n), float64.",
    predicts="the signal keeps E x² = 1 before each activation; the squared gradient norm grows "
    "E selu'(z)² = 1.0716 per layer",
)
def selu(seed: int, quick: bool) -> Evidence:
    """E selu(z)² and E selu'(z)² by quadrature, and the measured growth."""
    rng = sampling.stream(seed, 9)
    n, depth, nets = (200, 12, 40) if quick else (400, 20, 60)

    def slope(z: np.ndarray) -> np.ndarray:
        return np.asarray(md.vjp(md.ops.selu, z)[1](np.ones_like(z)))

    second = gaussian_mean(lambda z: np.asarray(md.ops.selu(z)) ** 2)
    chi = gaussian_mean(lambda z: slope(z) ** 2)
    kappa = 3 * gaussian_mean(lambda z: slope(z) ** 4) / chi**2 - 1
    growth = sampling.mean_field_growth(
        rng, md.ops.selu, weights=1.0, biases=0.0, q=1.0, n=n, nets=nets, depth=depth
    )
    measured = float(np.exp(2 * growth.mean()))
    # At a finite width the mean log is lower by κ/4n (see tanh_chaos.py). Twice that is allowed,
    # because q varies as well.
    gain = sampling.mean_check("ln gain of the gradient", math.log(chi) / 2, growth, kappa / 2 / n)
    layers = list(range(depth + 1))
    return Evidence(
        [Check("E selu(z)²", 1.0, second, 1e-9), gain],
        f"The squared gradient norm grows {measured:.4f} times per layer, predicted {chi:.4f}: "
        f"{chi**50:.0f} times over 50 layers, though E selu(z)² is {second:.6f}.",
        [{"E selu²": second, "E selu'²": chi, "measured": measured, "n": n, "layers": depth}],
        curves(
            "layers passed backwards",
            "squared gradient norm, relative",
            {"measured": (layers, [measured**i for i in layers])},
            {"1.0716 per layer": (layers, [chi**i for i in layers])},
        ),
    )
