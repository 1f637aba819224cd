"""How a layer's initial weights multiply a signal: six of them through 20 convolutions.

Run: python demos/initialization.py   (a few seconds)
"""

import math
from pathlib import Path

import numpy as np

from minidl.lab.cnn import Recipe, signals
from minidl.plot import COLORS, new_figure, write_figure

DEPTH, WIDTH = 20, 32
SEEDS = range(3)
FAN = 9 * WIDTH  # inputs that each output of a 3×3 convolution sums
# A ReLU passes half of the second moment, so a layer multiplies the norm by √(σ²·fan_in/2). At
# the border of a 7×7 image some of the 9 inputs are padding: that costs another factor.
PADDING = (1 + 2 * math.cos(math.pi / 8)) / 3
SIGMA = {
    "he_normal": math.sqrt(2 / FAN),
    "he_uniform": math.sqrt(2 / FAN),
    "xavier_normal": math.sqrt(1 / FAN),
    "lecun_normal": math.sqrt(1 / FAN),
    "N(0, 0.3²)": 0.3,
    "N(0, 0.05²)": 0.05,
}
OUT = Path("runs/demos/initialization.png")


def growth(scales: list[float]) -> float:
    """The factor per layer, from the second convolution (the first of 7×7 pixels) to the last."""
    return (scales[-1] / scales[1]) ** (1 / (DEPTH - 2))


def main() -> None:
    figure, (left, right) = new_figure(11, 4.6, 1, 2)
    layers = range(1, DEPTH + 1)
    print(
        f"{'initializer':<15} {'predicted':>9} {'output':>8} {'gradient':>9}   (factor per layer)"
    )
    for color, (name, sigma) in zip(COLORS, SIGMA.items(), strict=False):
        init = name if "_" in name else sigma
        recipe = Recipe(depth=DEPTH, width=WIDTH, init=init)
        logs = np.mean([np.log(signals(recipe, seed)) for seed in SEEDS], axis=0)
        outputs, gradients = np.exp(logs).tolist()
        predicted = math.sqrt(sigma**2 * FAN / 2) * PADDING
        back = 1 / growth(gradients)
        print(f"{name:<16} {predicted:>9.3f} {growth(outputs):>8.3f} {back:>9.3f}")
        left.plot(layers, outputs, "o-", color=color, label=name, markersize=3)
        right.plot(layers, gradients, "o-", color=color, markersize=3)
        theory = [outputs[1] * predicted**k for k in range(DEPTH - 1)]
        left.plot(layers[1:], theory, "--", color=color, linewidth=0.9)
        assert abs(growth(outputs) / predicted - 1) < 0.1
        assert abs(back / predicted - 1) < 0.1
    left.set(yscale="log", xlabel="convolution", title="Forward: the output's root mean square")
    right.set(yscale="log", xlabel="convolution", title="Backward: the gradient's root mean square")
    for axis in (left, right):
        axis.set_xticks(range(0, DEPTH + 1, 5))
    left.legend(frameon=False, fontsize=8, loc="upper left", title="dashed: √(σ²·fan_in/2)·padding")
    OUT.parent.mkdir(parents=True, exist_ok=True)
    write_figure(figure, OUT)

    print(
        "\nWeights multiply. He's σ = √(2/fan_in) holds the signal both ways; everything else is a"
        f"\nfactor per layer, to the power of the depth. Figure: {OUT}"
    )


if __name__ == "__main__":
    main()
