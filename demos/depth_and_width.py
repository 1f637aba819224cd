"""The gradient before the first step by depth and width: with a fixed σ it depends on both. With
weights scaled by their fan-in it hardly depends on them.

Run: python demos/depth_and_width.py   (about ten seconds)
"""

import math
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import minidl as md

DEPTHS, WIDTHS, SEEDS = (2, 4, 8, 16, 32), (4, 8, 16, 32), range(2)
OUT = Path("runs/demos/depth_and_width.png")
digits = md.data.digits()
images = md.data.standardize(digits.images)(digits.images)


def network(depth, width, weights):
    """`depth` convolutions 3×3 with ReLU (the first two halve the image), then a dense layer."""
    layers = []
    for i in range(depth):
        stride, channels = 2 if i < 2 else 1, width if i else 1
        layers.append(md.nn.Conv2d(channels, width, 3, stride=stride, padding=1, init=weights))
        layers.append(md.nn.ReLU())
    return md.nn.Sequential(*layers, md.nn.Flatten(), md.nn.Dense(width * 49, 10, init=weights))


def log_gradient(depth, width, weights, seed):
    """log₁₀ ‖gradient‖ by the kernels of the convolutions, for one batch."""
    md.manual_seed(seed)
    model, batch = network(depth, width, weights), slice(64 * seed, 64 * seed + 64)
    loss = md.ops.cross_entropy(model(images[batch]), digits.labels[batch])
    loss.backward()  # what training starts with; no step is taken here
    kernels = [p.grad.data.astype(np.float64) for p in model.parameters() if p.ndim == 4]
    return math.log10(math.hypot(*(np.linalg.norm(g) for g in kernels)))


def table(weights):
    """The mean over seeds for each depth (rows) and width (columns)."""
    return np.array([
        [np.mean([log_gradient(d, w, weights, seed) for seed in SEEDS]) for w in WIDTHS]
        for d in DEPTHS
    ])  # fmt: skip


found = {
    "weights N(0, 0.15²)": table(md.nn.init.normal(0.15)),
    "He weights": table("he_normal"),
}
figure = Figure(figsize=(10, 4.6), layout="constrained")
axes = figure.subplots(1, 2)
for axis, (title, values) in zip(axes, found.items(), strict=True):
    picture = axis.imshow(values, cmap="RdBu_r", vmin=-9, vmax=9, aspect="auto")
    for i, j in np.ndindex(values.shape):
        color = "white" if abs(values[i, j]) > 6 else "black"
        axis.text(j, i, f"{values[i, j]:.1f}", ha="center", va="center", color=color)
    axis.set(title=title, xlabel="width (channels)", ylabel="depth (convolutions)")
    axis.set_xticks(range(len(WIDTHS)), WIDTHS)
    axis.set_yticks(range(len(DEPTHS)), DEPTHS)
    print(f"{title}: log₁₀ ‖gradient‖ from {values.min():+.1f} to {values.max():+.1f}")
figure.colorbar(picture, ax=axes, label="log₁₀ ‖gradient‖ before the first step")
OUT.parent.mkdir(parents=True, exist_ok=True)
figure.savefig(OUT)

fixed, he = found.values()
# At a fixed σ the gain is √(σ²·9·width/2): under 1 for 4 channels, near 1 for 10, 1.8 for 32.
assert fixed[-1, 0] < fixed[0, 0] - 5, "narrow: depth makes it vanish"
assert fixed[-1, -1] > fixed[0, -1] + 4, "wide: depth makes it explode"
assert np.ptp(he) < np.ptp(fixed) / 3, "scaled by fan-in, shape hardly matters"
print("\nAt one σ a deep narrow network vanishes and a deep wide one explodes: the gain per layer")
print(f"decides, and depth is its exponent. Figure: {OUT}")
