"""How much of the signal does zero padding take from a small image?

At the border some of the nine pixels under a 3×3 kernel are padding, and zeros add nothing. Each
layer multiplies E x² of the pixels by the matrix T ⊗ T, where T is tridiagonal and all its entries
are ⅓. The leading eigenvector of T is sin(πi/(H+1)). So if E x² has this profile in rows and
columns, each layer multiplies it by the squared leading eigenvalue, exactly, from the first layer
on. Any other image comes to that in the end:

    E x² per layer: ((1 + 2cos(π/(H+1)))/3)²,   0.99 at H = 28, 0.90 at 7, 0.76 at 4

To cancel the noise of the random weights, the same weights are also applied on a torus, where
opposite edges meet and nothing is lost.
"""

from typing import Any

import numpy as np

import minidl as md

from .. import sampling
from ..drawing import curves
from ..formulas import padding_factor
from ..registry import Check, Evidence, prediction

SIDES = (28, 7, 4)


@prediction(
    10,
    title="Zero padding drains small images",
    source="He et al. 2015, eq. 10, with the border counted in",
    setup="He-initialised 3x3 convolutions, padding 1, ReLU, 32 channels, 6 layers, images of side "
    "H; the same weights on a torus, where nothing is lost, for comparison.",
    predicts="the second moment falls ((1 + 2cos(π/(H+1)))/3)² per layer: 0.99 at H = 28, 0.90 "
    "at 7, 0.76 at 4; before that settles, faster from a uniform image",
)
def zero_padding(seed: int, quick: bool) -> Evidence:
    """The loss of second moment at the border, paired with a torus."""
    rng = sampling.stream(seed, 10)
    channels, depth, nets = (16, 4, 24) if quick else (32, 6, 40)
    checks, rows = [], []
    for side in SIDES:
        eigenvector = np.sin(np.pi * np.arange(1, side + 1) / (side + 1))
        eigenvalue = padding_factor(side) ** 2
        t = sum(np.eye(side, k=k) for k in (-1, 0, 1)) / 3
        for start, profile in (("sine", eigenvector), ("uniform", np.ones(side))):
            left = float((np.linalg.matrix_power(t, depth) @ profile).sum() / profile.sum()) ** 2
            deviation = np.sqrt(np.outer(profile, profile))
            padded, torus = np.zeros(nets), np.zeros(nets)
            for i in range(nets):
                x: Any = deviation * sampling.gaussian(rng, 1, channels, side, side)
                y = x
                for _ in range(depth):
                    shape = (channels, channels, 3, 3)
                    w = sampling.gaussian(rng, *shape, variance=2 / (9 * channels))
                    x = md.ops.relu(md.ops.conv2d(x, w, padding=1))
                    y = md.ops.relu(md.ops.conv2d(_wrap(y), w))
                padded[i], torus[i] = float((x * x).sum()), float((y * y).sum())
            ratio = padded.mean() / torus.mean()
            error = sampling.standard_error(padded - ratio * torus) / torus.mean()
            measured, predicted = ratio ** (1 / depth), left ** (1 / depth)
            # The ratio of two means is biased by about its relative error squared: 0.002 covers it.
            tolerance = sampling.SIGMAS * error / ratio / depth * measured + 0.002
            checks.append(Check(f"per layer, H = {side}, {start}", predicted, measured, tolerance))
            row = {"H": side, "start": start, "limit": eigenvalue}
            rows.append(row | {"predicted": predicted, "measured": measured})
            if start == "sine":
                what = f"eigenvalue from formula, H = {side}"
                checks.append(Check(what, eigenvalue, predicted, 1e-12))
    sine, uniform = ([r for r in rows if r["start"] == start] for start in ("sine", "uniform"))
    scan = list(range(3, 33))
    return Evidence(
        checks,
        "Per layer "
        + ", ".join(f"{row['measured']:.3f} (H = {row['H']})" for row in sine)
        + " of the second moment is left; predicted "
        + ", ".join(f"{row['predicted']:.3f}" for row in sine)
        + ".",
        rows,
        curves(
            "side H of the image",
            "factor per layer",
            {name: (list(SIDES), [row["measured"] for row in found]) for name, found in
             (("settled", sine), (f"first {depth} layers of a uniform image", uniform))},
            {"((1 + 2cos(π/(H+1)))/3)²": (scan, [padding_factor(h) ** 2 for h in scan])},
        ),
    )  # fmt: skip


def _wrap(x: Any) -> md.Tensor:
    """The image with its opposite edges around it."""
    x = md.ops.concatenate([x[:, :, -1:], x, x[:, :, :1]], axis=2)
    return md.ops.concatenate([x[:, :, :, -1:], x, x[:, :, :, :1]], axis=3)
