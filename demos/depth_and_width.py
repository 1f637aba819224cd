"""Depth and width before the first step: at a fixed σ both decide; scaled by fan-in, neither.

Run: python demos/depth_and_width.py   (about ten seconds)
"""

import math
from pathlib import Path

import numpy as np

from minidl.lab.cnn import Recipe, gradient_norm
from minidl.plot import new_figure, write_figure

DEPTHS, WIDTHS = (2, 4, 8, 16, 32), (4, 8, 16, 32)
SEEDS = range(2)
OUT = Path("runs/demos/depth_and_width.png")


def table(init: str | float) -> np.ndarray:
    """log₁₀ ‖gradient‖ for each depth (rows) and width (columns)."""
    return np.array([
        [np.mean([math.log10(gradient_norm(Recipe(depth=d, width=w, init=init), s)) for s in SEEDS])
         for w in WIDTHS]
        for d in DEPTHS
    ])  # fmt: skip


def main() -> None:
    found = {"weights N(0, 0.15²)": table(0.15), "He weights": table("he_normal")}
    figure, axes = new_figure(10, 4.6, 1, 2)
    for axis, (title, values) in zip(axes, found.items(), strict=True):
        picture = axis.imshow(values, cmap="RdBu_r", vmin=-9, vmax=9, aspect="auto")
        for i, j in np.ndindex(values.shape):
            axis.text(j, i, f"{values[i, j]:.1f}", ha="center", va="center",
                      color="white" if abs(values[i, j]) > 6 else "black")  # fmt: skip
        axis.grid(False)
        axis.set(title=title, xlabel="width (channels)", ylabel="depth (convolutions)")
        axis.set_xticks(range(len(WIDTHS)), WIDTHS)
        axis.set_yticks(range(len(DEPTHS)), DEPTHS)
    figure.colorbar(picture, ax=axes, label="log₁₀ ‖gradient‖ before the first step")
    OUT.parent.mkdir(parents=True, exist_ok=True)
    write_figure(figure, OUT)

    for title, values in found.items():
        print(f"{title}: log₁₀ ‖gradient‖ from {values.min():+.1f} to {values.max():+.1f}")
    fixed, he = found.values()
    # At a fixed σ the gain is √(σ²·9·width/2): under 1 for 4 channels, near 1 for 10, 1.8 for 32.
    assert fixed[-1, 0] < fixed[0, 0] - 5, "narrow: depth makes it vanish"
    assert fixed[-1, -1] > fixed[0, -1] + 4, "wide: depth makes it explode"
    assert np.ptp(he) < np.ptp(fixed) / 3, "scaled by fan-in, shape hardly matters"
    print(
        "\nAt one σ a deep narrow network vanishes and a deep wide one explodes: the gain per layer"
        f"\ndecides, and depth is its exponent. Figure: {OUT}"
    )


if __name__ == "__main__":
    main()
