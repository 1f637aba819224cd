"""P10, P12: where images end, and where float32 ends."""

import math
from typing import Any

import numpy as np

import minidl as md

from . import theory
from .registry import Check, Result, experiment, holds


@experiment(
    name="zero-padding",
    number="P10",
    title="Zero padding drains small images",
    source="He et al. 2015, eq. 10, with the border counted in",
    setup="He-initialised 3x3 convolutions, padding 1, ReLU, 32 channels, 6 layers, images of side "
    "H; the same weights on a torus, where nothing is lost, for comparison",
    prediction="the second moment falls ((1 + 2cos(π/(H+1)))/3)² per layer: 0.99 at H = 28, 0.90 "
    "at 7, 0.76 at 4; before that settles, faster from a uniform image",
)
def zero_padding(seed: int, quick: bool) -> Result:
    """The loss of second moment at the border, paired with a torus to cancel the weights' noise.

    E x² of the pixels goes through the matrix T ⊗ T, T tridiagonal with ⅓ throughout. Its leading
    eigenvector is sin(πi/(H+1)): images with such a variance lose the leading eigenvalue, exactly,
    from the first layer on.
    """
    rng = theory.stream(seed, 10)
    channels, depth, nets = (16, 4, 24) if quick else (32, 6, 40)
    checks, rows = [], []
    sides = (28, 7, 4)
    for side in sides:
        eigenvector = np.sin(np.pi * np.arange(1, side + 1) / (side + 1))
        eigenvalue = ((1 + 2 * math.cos(math.pi / (side + 1))) / 3) ** 2
        t = sum(np.eye(side, k=k) for k in (-1, 0, 1)) / 3
        for start, profile in (("sine", eigenvector), ("uniform", np.ones(side))):
            left = float((np.linalg.matrix_power(t, depth) @ profile).sum() / profile.sum()) ** 2
            deviation = np.sqrt(np.outer(profile, profile))
            padded, torus = np.zeros(nets), np.zeros(nets)
            for i in range(nets):
                x: Any = deviation * theory.gaussian(rng, 1, channels, side, side)
                y = x
                for _ in range(depth):
                    w = theory.gaussian(rng, channels, channels, 3, 3, variance=2 / (9 * channels))
                    x = md.ops.relu(md.ops.conv2d(x, w, padding=1))
                    y = md.ops.relu(md.ops.conv2d(_wrap(y), w))
                padded[i], torus[i] = float((x * x).sum()), float((y * y).sum())
            ratio = padded.mean() / torus.mean()
            error = theory.standard_error(padded - ratio * torus) / torus.mean()
            measured = ratio ** (1 / depth)
            predicted = left ** (1 / depth)
            # A ratio of means is off by its relative error squared; 0.002 covers it.
            tolerance = theory.SIGMAS * error / ratio / depth * measured + 0.002
            checks.append(Check(f"per layer, H = {side}, {start}", predicted, measured, tolerance))
            rows.append(
                {
                    "H": side,
                    "start": start,
                    "limit": eigenvalue,
                    "predicted": predicted,
                    "measured": measured,
                }
            )
            if start == "sine":
                checks.append(
                    Check(f"eigenvalue from formula, H = {side}", eigenvalue, predicted, 1e-12)
                )
    sine = [r for r in rows if r["start"] == "sine"]
    scan = list(range(3, 33))
    return Result(
        checks,
        holds(checks),
        "Per layer "
        + ", ".join(f"{r['measured']:.3f} (H = {r['H']})" for r in sine)
        + " of the second moment is left"
        + "; predicted "
        + ", ".join(f"{r['predicted']:.3f}" for r in sine)
        + ".",
        rows,
        {
            "title": "Zero padding: second moment left per layer",
            "x": "side H of the image",
            "y": "factor per layer",
            "lines": {
                "settled": (list(sides), [r["measured"] for r in sine]),
                f"first {depth} layers of a uniform image": (
                    list(sides),
                    [r["measured"] for r in rows if r["start"] == "uniform"],
                ),
            },
            "predicted": {
                "((1 + 2cos(π/(H+1)))/3)²": (
                    scan,
                    [((1 + 2 * math.cos(math.pi / (h + 1))) / 3) ** 2 for h in scan],
                )
            },
        },
    )


def _wrap(x: Any) -> md.Tensor:
    """The image with its opposite edges around it."""
    x = md.ops.concatenate([x[:, :, -1:], x, x[:, :, :1]], axis=2)
    return md.ops.concatenate([x[:, :, :, -1:], x, x[:, :, :, :1]], axis=3)


@experiment(
    name="overflow-depth",
    number="P12",
    title="The layer at which float32 overflows",
    source="He et al. 2015, eq. 9; IEEE 754 binary32, largest number 3.4e38",
    setup="N(0, 1) ReLU MLPs in float32, one N(0, 1) input, widths 64, 256, 512",
    prediction="first Inf at layer 38.53/(½ lg(n/2)): 51, 37, 32; the squared norm overflows at "
    "half that depth; exactly, by the laws of ‖x_l‖ and of the largest of n values, the mean "
    "over seeds is 51.5, 36.6, 32.1",
)
def overflow_depth(seed: int, quick: bool) -> Result:
    """The mean layer of the first Inf, and of the first Inf in ‖x‖², over networks."""
    rng = theory.stream(seed, 12)
    largest = math.log(float(np.finfo(np.float32).max))
    checks, rows, lines = [], [], {}
    for n in (64, 256) if quick else (64, 256, 512):
        nets = 10 if quick else 20
        found = np.zeros((nets, 2))
        for i in range(nets):
            found[i], sizes = _first_overflows(rng, n)
        lines[f"n = {n}"] = (list(range(len(sizes))), sizes)
        simple = largest / math.log(10) / (0.5 * math.log10(n / 2))
        row: dict[str, Any] = {"n": n, "38.53/(½ lg(n/2))": simple}
        for column, what in enumerate(("first Inf", "squared norm Inf")):
            mean, deviation = _first_layer(n, largest, squared=column == 1)
            measured = float(found[:, column].mean())
            # Partial sums overflow a little before the whole does: a tenth of a layer.
            tolerance = theory.SIGMAS * deviation / math.sqrt(nets) + 0.1
            checks.append(Check(f"layer of {what}, n = {n}", mean, measured, tolerance))
            row |= {f"{what}, predicted": mean, f"{what}, measured": measured}
        # The formula leaves out the largest of n values and rounding up to a layer, which pull
        # opposite ways, and the seeds' spread.
        checks.append(Check(f"formula, n = {n}", simple, float(found[:, 0].mean()), 2.0))
        half = float(found[:, 1].mean() / found[:, 0].mean())
        checks.append(Check(f"squared norm over first Inf, n = {n}", 0.5, half, 0.05))
        rows.append(row)
    return Result(
        checks,
        holds(checks),
        "The first Inf comes at layer "
        + ", ".join(f"{r['first Inf, measured']:.1f}" for r in rows)
        + " on average for n = "
        + ", ".join(str(r["n"]) for r in rows)
        + " (exact theory "
        + ", ".join(f"{r['first Inf, predicted']:.1f}" for r in rows)
        + "; formula "
        + ", ".join(f"{r['38.53/(½ lg(n/2))']:.1f}" for r in rows)
        + "), and ‖x‖² overflows at layer "
        + ", ".join(f"{r['squared norm Inf, measured']:.1f}" for r in rows)
        + ".",
        rows,
        {
            "title": "Growth up to the largest float32",
            "x": "layer",
            "y": "lg of the largest pre-activation",
            "lines": lines,
            "predicted": {"3.4e38": ([0, 52], [largest / math.log(10)] * 2)},
        },
    )


def _first_overflows(rng: np.random.Generator, n: int) -> tuple[tuple[int, int], list[float]]:
    """The layers of the first non-finite pre-activation and squared norm; lg of the largest."""
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


def _first_layer(n: int, largest: float, *, squared: bool) -> tuple[float, float]:
    """Mean and standard deviation of the first overflowing layer.

    ln ‖x_l‖² is nearly normal with l times the exact moments of one layer. Entries of a
    pre-activation are N(0, ‖x_{l-1}‖²); all n stay below F with (2Φ(F/‖x‖) - 1)ⁿ.
    """
    mean, spread = theory.relu_log_moments(n)
    z = (np.arange(-400, 400) + 0.5) / 50
    p = np.exp(-z * z / 2) / np.exp(-z * z / 2).sum()
    survival: list[
        float
    ] = []  # P(no overflow up to layer l), l = 0, 1, ...: growth makes it that of layer l
    while not survival or survival[-1] > 1e-12:
        layer = len(survival)
        passed = layer if squared else max(layer - 1, 0)
        centre = math.log(n) + passed * (mean + math.log(n / 2))
        log_square = centre + math.sqrt(passed * spread + 2 / n) * z  # ‖x_0‖²: variance 2/n
        if layer == 0:
            survival.append(1.0)
        elif squared:
            survival.append(float(p @ (log_square < largest)))
        else:
            below = 2 * theory.normal_cdf(np.exp(np.minimum(largest - log_square / 2, 50))) - 1
            survival.append(float(p @ below**n))
    layers = np.arange(len(survival))
    average = float(np.sum(survival))
    square = float(np.sum((2 * layers + 1) * survival))
    return average, math.sqrt(max(square - average**2, 0.0))
