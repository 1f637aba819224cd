"""How a layer's initial weights multiply a signal: six initializers, 20 convolutions each.

Run: python demos/initialization.py   (a few seconds)
"""

import math
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import minidl as md

DEPTH, WIDTH, SEEDS = 20, 32, range(3)
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
digits = md.data.digits()
images = md.data.standardize(digits.images)(digits.images)


def network(weights):
    """Convolutions 3×3 with ReLU (the first two halve the image), then a dense layer."""
    layers = []
    for i in range(DEPTH):
        stride, channels = 2 if i < 2 else 1, WIDTH if i else 1
        layers.append(md.nn.Conv2d(channels, WIDTH, 3, stride=stride, padding=1, init=weights))
        layers.append(md.nn.ReLU())
    return md.nn.Sequential(*layers, md.nn.Flatten(), md.nn.Dense(WIDTH * 49, 10, init=weights))


def sizes(weights, seed):
    """Root mean squares (2, DEPTH): of each convolution's output, and of its gradient."""
    md.manual_seed(seed)
    model, batch = network(weights), slice(64 * seed, 64 * seed + 64)
    x, outputs = md.tensor(images[batch]), []
    for layer in model.layers:  # the forward pass by hand, to keep each convolution's output
        x = layer(x)
        if isinstance(layer, md.nn.Conv2d):
            x.retain_grad()
            outputs.append(x)
    md.ops.cross_entropy(x, digits.labels[batch]).backward()
    arrays = [[z.numpy() for z in outputs], [z.grad.numpy() for z in outputs]]
    return [[math.sqrt(np.square(a, dtype="f8").mean()) for a in row] for row in arrays]


def growth(values):
    """The factor per layer, from the second convolution (the first of 7×7 pixels) to the last."""
    return (values[-1] / values[1]) ** (1 / (DEPTH - 2))


figure = Figure(figsize=(11, 4.6), layout="constrained")
left, right = figure.subplots(1, 2)
layers = range(1, DEPTH + 1)
print(f"{'initializer':<15} {'predicted':>9} {'output':>8} {'gradient':>9}   (factor per layer)")
for i, (name, sigma) in enumerate(SIGMA.items()):
    weights = name if "_" in name else md.nn.init.normal(sigma)
    outputs, gradients = np.exp(np.mean([np.log(sizes(weights, s)) for s in SEEDS], axis=0))
    predicted, back = math.sqrt(sigma**2 * FAN / 2) * PADDING, 1 / growth(gradients)
    print(f"{name:<16} {predicted:>9.3f} {growth(outputs):>8.3f} {back:>9.3f}")
    left.semilogy(layers, outputs, "o-", color=f"C{i}", label=name, markersize=3)
    right.semilogy(layers, gradients, "o-", color=f"C{i}", markersize=3)
    theory = [outputs[1] * predicted**k for k in range(DEPTH - 1)]
    left.semilogy(layers[1:], theory, "--", color=f"C{i}", linewidth=0.9)
    assert abs(growth(outputs) / predicted - 1) < 0.1
    assert abs(back / predicted - 1) < 0.1
left.set(xlabel="convolution", title="Forward: the output's root mean square")
right.set(xlabel="convolution", title="Backward: the gradient's root mean square")
left.set_xticks(range(0, DEPTH + 1, 5)), right.set_xticks(range(0, DEPTH + 1, 5))
left.legend(fontsize=8, title="dashed: √(σ²·fan_in/2)·padding")
OUT.parent.mkdir(parents=True, exist_ok=True)
figure.savefig(OUT)
print("\nHe's σ = √(2/fan_in) keeps the size of signal and gradient. Another σ multiplies both by")
print(f"a factor in each layer, and so by its power over all layers. Figure: {OUT}")
