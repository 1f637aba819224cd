"""In which layer does float32 overflow?

N(0, 1) weights multiply the norm by √(n/2) in each ReLU layer. float32 ends at 3.4e38, whose
logarithm to base 10 is 38.53, so the first Inf comes at layer

    38.53 / (½·log₁₀(n/2)):   51, 37, 32 for n = 64, 256, 512

A squared norm overflows at half that depth. That is why norms are summed in float64 or scaled by
the largest element first. The formula is approximate. The exact mean over seeds takes into account
that the largest of n values overflows first, and that a layer is a whole number.
"""

import math
from typing import Any

import numpy as np

import minidl as md

from .. import sampling
from ..drawing import curves
from ..formulas import normal_cdf, relu_log_moments
from ..registry import Check, Evidence, prediction

LARGEST = math.log(float(np.finfo(np.float32).max))
FORMULA = "38.53/(½ lg(n/2))"


@prediction(
    12,
    title="The layer at which float32 overflows",
    source="He et al. 2015, eq. 9; IEEE 754 binary32, largest number 3.4e38",
    setup="N(0, 1) ReLU MLPs in float32, one N(0, 1) input, widths 64, 256, 512.",
    predicts="first Inf at layer 38.53/(½ lg(n/2)): 51, 37, 32; the squared norm overflows at "
    "half that depth; exactly, by the laws of ‖x_l‖ and of the largest of n values, the mean "
    "over seeds is 51.5, 36.6, 32.1",
)
def overflow_depth(seed: int, quick: bool) -> Evidence:
    """The mean layer of the first Inf, and of the first Inf in ‖x‖², over networks."""
    rng = sampling.stream(seed, 12)
    nets = 10 if quick else 20
    checks, rows, lines = [], [], {}
    for n in (64, 256) if quick else (64, 256, 512):
        found = np.zeros((nets, 2))
        for i in range(nets):
            found[i], sizes = _first_overflows(rng, n)
        lines[f"n = {n}"] = (list(range(len(sizes))), sizes)
        first, squared = (float(v) for v in found.mean(0))
        simple = LARGEST / math.log(10) / (0.5 * math.log10(n / 2))
        row: dict[str, Any] = {"n": n, FORMULA: simple}
        for what, measured in (("first Inf", first), ("squared norm Inf", squared)):
            mean, deviation = _first_layer(n, squared=what != "first Inf")
            # A partial sum may overflow although the whole would not: a tenth of a layer is added.
            tolerance = sampling.SIGMAS * deviation / math.sqrt(nets) + 0.1
            checks.append(Check(f"layer of {what}, n = {n}", mean, measured, tolerance))
            row |= {f"{what}, predicted": mean, f"{what}, measured": measured}
        # The formula leaves out that the largest of n values overflows first, which makes the layer
        # smaller, the rounding up to a whole layer, which makes it larger, and the seeds' spread.
        checks.append(Check(f"formula, n = {n}", simple, first, 2.0))
        checks.append(Check(f"squared norm over first Inf, n = {n}", 0.5, squared / first, 0.05))
        rows.append(row)

    def listed(column: str) -> str:
        return ", ".join(f"{row[column]:.1f}" for row in rows)

    return Evidence(
        checks,
        f"The first Inf comes at layer {listed('first Inf, measured')} on average for n = "
        f"{', '.join(str(row['n']) for row in rows)} (exact theory "
        f"{listed('first Inf, predicted')}; formula {listed(FORMULA)}), and ‖x‖² overflows at "
        f"layer {listed('squared norm Inf, measured')}.",
        rows,
        curves("layer", "lg of the largest pre-activation",
               lines, {"3.4e38": ([0, 52], [LARGEST / math.log(10)] * 2)}),
    )  # fmt: skip


def _first_overflows(rng: np.random.Generator, n: int) -> tuple[tuple[int, int], list[float]]:
    """The layers of the first non-finite pre-activation and squared norm; log₁₀ of the largest
    pre-activation of each layer.
    """
    x: Any = md.tensor(rng.standard_normal((n, 1)))
    squared, layer = 0, 0
    sizes = [math.log10(float(np.abs(x.numpy()).max()))]
    with np.errstate(over="ignore", invalid="ignore"), md.no_grad():
        while True:
            layer += 1
            h = rng.standard_normal((n, n), dtype=np.float32) @ x
            if not np.isfinite(h.numpy()).all():
                return (layer, squared), sizes
            sizes.append(math.log10(float(np.abs(h.numpy()).max())))
            x = md.ops.relu(h)
            if not squared and not np.isfinite((x * x).sum().item()):
                squared = layer


def _first_layer(n: int, *, squared: bool) -> tuple[float, float]:
    """Mean and standard deviation of the first overflowing layer.

    ln ‖x_l‖² is nearly normal with l times the exact moments of one layer. Entries of a
    pre-activation are N(0, ‖x_{l-1}‖²). All n of them stay below F, float32's largest number, with
    the probability (2Φ(F/‖x_{l-1}‖) - 1)ⁿ. squared: the layer where ‖x_l‖² passes F instead.
    """
    mean, spread = relu_log_moments(n)
    z = (np.arange(-400, 400) + 0.5) / 50
    p = np.exp(-z * z / 2) / np.exp(-z * z / 2).sum()
    # P(no overflow up to layer l), l = 0, 1, ... As the signal grows from layer to layer, it is
    # P(no overflow in layer l).
    survival: list[float] = []
    while not survival or survival[-1] > 1e-12:
        layer = len(survival)
        passed = layer if squared else max(layer - 1, 0)
        centre = math.log(n) + passed * (mean + math.log(n / 2))
        log_square = centre + math.sqrt(passed * spread + 2 / n) * z  # ‖x_0‖²: variance 2/n
        if layer == 0:
            survival.append(1.0)
        elif squared:
            survival.append(float(p @ (log_square < LARGEST)))
        else:
            below = 2 * normal_cdf(np.exp(np.minimum(LARGEST - log_square / 2, 50))) - 1
            survival.append(float(p @ below**n))
    layers = np.arange(len(survival))
    average = float(np.sum(survival))
    square = float(np.sum((2 * layers + 1) * survival))
    return average, math.sqrt(max(square - average**2, 0.0))
