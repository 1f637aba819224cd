"""Do weights accumulate across layers?

Yes, as a product, and theory gives its factor. A convolution with weights N(0, σ²) sums fan_in
products, ReLU passes half of the second moment, and zero padding on 7×7 pixels takes a little. In
each layer, forward and backward alike, the norm is multiplied by

    √(σ²·fan_in/2) · (1 + 2cos(π/8))/3

which is 0.949 for He weights, and half or twice as much for weights half or twice as large.
"""

import math

import numpy as np

from ..cnn import Recipe, signals
from ..drawing import curves
from ..formulas import padding_factor
from ..judging import seeds
from ..registry import Check, Evidence, claim

DEPTH, WIDTH, PIXELS = 12, 32, 7


@claim(
    8,
    title="Weights accumulate across layers",
    section="2.1, and 3.1, cause 1",
    says="A gradient explodes when weights accumulate from layer to layer.",
    source="the article; He et al. 2015, eq. 9 and 14",
    setup="LAB-CNN of 12 convolutions of 32 channels; weights are He's times 0.5, 1, 2. Growth per "
    "layer of the output, and of the gradient coming back, over the 10 layers on 7×7 pixels.",
    promises="each layer multiplies both by √(σ²·fan_in/2)·(1 + 2cos(π/8))/3, within 5 %",
)
def weights_accumulate(seed: int, quick: bool) -> Evidence:
    """The growth of signal and gradient per layer, beside theory, for three scales of weights."""
    steps = DEPTH - 2
    layers = list(range(2, DEPTH + 1))
    checks, rows, lines, theory = [], [], {}, {}
    for factor in (0.5, 1.0, 2.0):
        name = f"He × {factor:g}"
        recipe = Recipe(depth=DEPTH, width=WIDTH, init=factor * math.sqrt(2 / (9 * WIDTH)))
        found = [signals(recipe, s) for s in seeds(seed, quick)]
        forward = np.median([np.log(z) for z, _ in found], axis=0)[1:]
        backward = np.median([np.log(g) for _, g in found], axis=0)[1:]
        gain = factor * padding_factor(PIXELS)
        grown = {
            "output": math.exp((forward[-1] - forward[0]) / steps),
            "gradient": math.exp((backward[0] - backward[-1]) / steps),
        }
        for way, measured in grown.items():
            checks.append(Check(f"{name}: {way}'s growth per layer", gain, measured, 0.05 * gain))
        total = math.exp(forward[-1] - forward[0])
        rows.append({"weights": name, "predicted": gain} | grown | {"over 10 layers": total})
        start = math.exp(forward[0])
        lines[name] = (layers, np.exp(forward).tolist())
        theory[f"{name}, predicted"] = (layers, [start * gain**k for k in range(steps + 1)])
    worst = max(abs(c.measured / c.predicted - 1) for c in checks if c.predicted)
    return Evidence(
        checks,
        f"They multiply: layer by layer the measured growth is within {worst:.1%} of σ's gain. "
        f"Twice the weights are {total:.3g} times the signal after 10 layers.",
        rows,
        curves("convolution",
               "root mean square of its output", lines, theory, log_y=True),
    )  # fmt: skip
