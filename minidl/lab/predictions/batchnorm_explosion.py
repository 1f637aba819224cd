"""Does BatchNorm keep the gradient from growing at initialisation?

No. BatchNorm divides each neuron by its spread over the batch, and on the way back it divides the
gradient by the same number, after ReLU has made the spread smaller. In wide layers and large
batches the squared gradient norm grows per layer by

    π/(π - 1) = 1.467,   the norm by 1.211

and more in small batches, by the formula in `batch_norm_growth`.
"""

import math
from typing import Any

import numpy as np

from ...health.theory import BATCH_NORM_GROWTH
from .. import sampling
from ..drawing import curves
from ..formulas import both_on
from ..registry import Check, Evidence, prediction


def batch_norm_growth(batch: int) -> float:
    """The factor of the squared gradient norm per BatchNorm + ReLU layer, at infinite width.

    One neuron's standardised values y over the batch, B of them, lie uniformly on the sphere of
    radius √B in the space 1ᵀy = 0. So every mean below can be taken over a Gaussian in that space:
    its values have variance 1 - 1/B and correlation -1/(B-1). As B grows the factor goes to
    π/(π-1).
    Source: Yang et al. 2019, theorem 3.9 and appendix, here at finite B.
    """
    b = float(batch)
    angle = math.acos(-1 / (b - 1))
    # E relu(y_i)·relu(y_j), E relu(y_i)²: the arc-cosine kernel (Cho, Saul 2009).
    product = (math.sin(angle) + (math.pi - angle) * math.cos(angle)) / (2 * math.pi)
    next_variance = 0.5 - product  # of the next layer's values about their mean, per σ_w²
    # The gradient is spread evenly in 1ᵀg = 0: its covariance is G = I - 11ᵀ/B. On its way back it
    # is multiplied by ReLU's gates D = diag(d), d_i = 1 where y_i > 0 and else 0, and then by
    # BatchNorm's Jacobian √B/‖Gh‖·(G - yyᵀ/B), where h is BatchNorm's input and E 1/‖Gh‖² is
    # proportional to 1/(B-3). K = dᵀ1 is the number of images for which the unit is on.
    gates = b / 2 - 0.5 - (b - 1) * both_on(batch)  # E dᵀG d = E [K - K²/B], K = dᵀ1
    along = 0.5 + (b - 1) * product  # E (dᵀy)²/B
    passed = (b - 2) / 2 - (gates - along) / b
    return passed * b / ((b - 1) * (b - 3) * next_variance)


@prediction(
    5,
    title="BatchNorm makes the gradient explode at initialisation",
    source="Yang et al. 2019, corollary 3.10",
    setup="BatchNorm + ReLU + Gaussian weights, width 512, batches of 8, 32 and 128, 14 layers, "
    "float64.",
    predicts="the gradient norm grows √(π/(π-1)) = 1.211 per layer for large batches; more in "
    "small ones, by an exact formula",
)
def batchnorm_explosion(seed: int, quick: bool) -> Evidence:
    """The gradient's growth per layer through BatchNorm, for batches and in their limit."""
    rng = sampling.stream(seed, 5)
    n, depth, nets = (128, 10, 20) if quick else (512, 14, 20)
    limit = BATCH_NORM_GROWTH
    backwards = list(range(depth))
    checks = [Check("limit of the formula, B = 10⁷", limit**2, batch_norm_growth(10**7), 1e-6)]
    rows: list[dict[str, Any]] = []
    lines = {}
    for batch in (8, 32) if quick else (8, 32, 128):
        predicted = batch_norm_growth(batch)
        logs = np.zeros((nets, depth))
        for i in range(nets):
            # One layer more in front: it brings the input's variance to that of the others.
            layers = [sampling.batch_norm_layer(rng, n) for _ in range(depth + 1)]
            u = sampling.gaussian(rng, batch, n)
            x = sampling.gaussian(rng, batch, n)
            _, gradients = sampling.through(layers, x, u - u.mean(0))
            logs[i] = [math.log(np.linalg.norm(g)) for g in gradients[-2:0:-1]]
        growth = (logs[:, -1] - logs[:, 0]) / (depth - 1)
        # The squared norm is a mean over n neurons. It fluctuates, so the mean of its log is lower
        # than the log of its mean, by about c/n. Measured with 20 seeds: 0.006 = 0.7/n at batch 8
        # and n = 128, where a few neurons with a small ‖Gh‖ weigh most. So 1/n is allowed.
        what, log_gain = f"ln gain, batch {batch}", math.log(predicted) / 2
        checks.append(sampling.mean_check(what, log_gain, growth, 1 / n))
        measured = float(np.exp(growth.mean()))
        rows.append({"batch": batch, "predicted": math.sqrt(predicted), "measured": measured})
        lines[f"batch {batch}"] = (backwards, np.exp((logs - logs[:, :1]).mean(0)).tolist())
    conclusion = (
        "The gradient norm grows "
        + ", ".join(f"{row['measured']:.4f} (batch {row['batch']})" for row in rows)
        + " times per layer; theory says "
        + ", ".join(f"{row['predicted']:.4f}" for row in rows)
        + f", and √(π/(π-1)) = {limit:.4f} for large batches."
    )
    rows.append({"batch": "∞", "predicted": limit, "measured": None})
    return Evidence(
        checks,
        conclusion,
        rows,
        curves(
            "layers passed backwards",
            "gradient norm, relative",
            lines,
            {"√(π/(π-1))": (backwards, [limit**i for i in backwards])},
            log_y=True,
        ),
    )
