"""Clipping cures a rate that is too high, but not weights that are too large: three ways to clip.

Run: python demos/clipping.py   (about half a minute)
"""

import math
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import minidl as md

EPOCHS, OUT = 4, Path("runs/demos/clipping.png")
CLIPS = {
    "not clipped": lambda parameters: None,
    # Each element to [-0.01, 0.01]: the direction changes.
    "by value 0.01": lambda parameters: md.optim.clip_grad_value(parameters, 0.01),
    # The whole gradient to length 1: the direction stays.
    "by norm 1": lambda parameters: md.optim.clip_grad_norm(parameters, 1.0),
    # Each unit's gradient to 1 % of its weights; the head (the last weight and bias) left out.
    "adaptive 0.01": lambda parameters: md.optim.clip_grad_adaptive(parameters[:-2], 0.01),
}
REGIMES = {
    "A: weights too large": (md.nn.init.normal(0.3), 0.1),
    "B: rate too high": ("he_normal", 1.0),
}
digits, test = md.data.digits().split(0.2, seed=0)
digits, test = (part.map(md.data.standardize(digits.images)) for part in (digits, test))


def network(weights):
    """Eight convolutions 3×3 with ReLU (the first two halve the image), then a dense layer."""
    md.manual_seed(0)
    layers = []
    for i in range(8):
        stride, channels = 2 if i < 2 else 1, 16 if i else 1
        layers.append(md.nn.Conv2d(channels, 16, 3, stride=stride, padding=1, init=weights))
        layers.append(md.nn.ReLU())
    return md.nn.Sequential(*layers, md.nn.Flatten(), md.nn.Dense(784, 10, init=weights))


@np.errstate(all="ignore")  # overflow is the subject
def train(model, rate, clip):
    """(‖gradient‖ of each step before clipping, accuracy on the test images); ends at a NaN."""
    parameters, norms = model.parameters(), []
    optimizer = md.optim.SGD(parameters, rate)
    loader = md.data.DataLoader(digits, 64, shuffle=True, seed=10_000, drop_last=True)
    for _ in range(EPOCHS):
        for images, labels in loader:
            optimizer.zero_grad()
            md.ops.cross_entropy(model(images), labels).backward()
            # In float64 the squares cannot overflow.
            norms.append(
                math.hypot(*(np.linalg.norm(p.grad.data.astype("f8")) for p in parameters))
            )
            if not math.isfinite(norms[-1]):
                return norms, 0.0
            clip(parameters)
            optimizer.step()
    return norms, (model(test.images).numpy().argmax(1) == test.labels).mean()


figure = Figure(figsize=(11, 4.4), layout="constrained")
accuracy = {}
for axis, (regime, (weights, rate)) in zip(
    figure.subplots(1, 2, sharey=True), REGIMES.items(), strict=True
):
    for name, clip in CLIPS.items():
        norms, accuracy[regime[0], name] = train(network(weights), rate, clip)
        end = f"accuracy {accuracy[regime[0], name]:.0%}"
        if not math.isfinite(norms[-1]):
            end = f"NaN at step {len(norms)}"
        print(
            f"{regime[0]}, {name:<14} first norms", *(f"{n:.2g}" for n in norms[:4]), f"... {end}"
        )
        axis.loglog(range(1, len(norms) + 1), norms, label=f"{name}: {end}")
    axis.set(title=regime, xlabel="step", ylim=(1e-2, 1e9), ylabel="‖gradient‖ before clipping")
    axis.legend(fontsize=8)
OUT.parent.mkdir(parents=True, exist_ok=True)
figure.savefig(OUT)

assert accuracy["A", "not clipped"] < 0.2 and accuracy["B", "not clipped"] < 0.2
assert accuracy["B", "by norm 1"] > 0.8, "a rate too high is cured by bounding the step"
assert accuracy["A", "by norm 1"] < 0.9, "a signal that explodes is not"
print(
    "\nThe curves show the gradient as it arrives, before clipping. In B clipping brings it down;"
)
print(f"in A the weights keep making it large, step after step. Figure: {OUT}")
