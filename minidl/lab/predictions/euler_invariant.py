"""Does comparing the first layer's weight gradient with the last one's show an explosion?

It cannot. A ReLU network without biases is homogeneous in each layer's weights: twice the weights
give twice the output. Euler's theorem then gives the same number in every layer,

    ⟨W_l, dL/dW_l⟩ = ⟨logits, dL/dlogits⟩

whatever the scale of the weights. The gradient by a weight is a product of the layer's input and of
the gradient by its output. From layer to layer one grows as the other shrinks.
"""

import math
from typing import Any

import numpy as np

import minidl as md

from .. import sampling
from ..drawing import curves
from ..registry import Check, Evidence, prediction

ROUNDING = 1e-10  # a relative error that sums of a hundred float64 terms never reach
WIDTH, DEPTH = 128, 10


@prediction(
    14,
    title="The same ⟨W, dL/dW⟩ in every layer",
    source="Euler's theorem on homogeneous functions; Du, Hu, Lee 2018",
    setup="ReLU networks with zero biases, float64: convolutions, pooling and dense layers; and "
    "MLPs of width 128 and 10 layers at He x 1/3, 1 and 3.",
    predicts="⟨W_l, dL/dW_l⟩ = ⟨logits, dL/dlogits⟩ in every layer; so the first layer's weight "
    "gradient stays near the last one's, at any scale",
)
def euler_invariant(seed: int, quick: bool) -> Evidence:
    """The invariant of every layer, in a small CNN and in MLPs of three scales."""
    rng = sampling.stream(seed, 14)
    checks, rows, lines = [], [], {}
    labels = rng.integers(0, 10, 8)
    shapes = ((6, 1, 3, 3), (8, 6, 3, 3), (8 * 4 * 4, 20), (20, 10))
    weights = [0.5 * rng.standard_normal(shape) for shape in shapes]
    images = rng.standard_normal((8, 1, 16, 16))
    invariants, predicted, tolerance, _ = _invariants(_cnn, labels, images, weights)
    for i, value in enumerate(invariants):
        checks.append(Check(f"CNN, layer {i + 1}", predicted, value, tolerance))
    for scale in (1 / 3, 1.0, 3.0):
        sigma, name = scale * math.sqrt(2 / WIDTH), f"He x {scale:.3g}"
        weights = [sigma * rng.standard_normal((WIDTH, WIDTH)) for _ in range(DEPTH - 1)]
        weights.append(sigma * rng.standard_normal((WIDTH, 10)))
        x = rng.standard_normal((8, WIDTH))
        invariants, predicted, tolerance, norms = _invariants(_mlp, labels, x, weights)
        worst = predicted + max((v - predicted for v in invariants), key=abs)
        checks.append(Check(f"MLP, {name}: the layer furthest off", predicted, worst, tolerance))
        ratio = math.log10(norms[0] / norms[-2])
        # For one input ‖dL/dW_l‖ = ‖g_l‖·‖x_{l-1}‖: one grows as the other shrinks. So the ratio of
        # two layers varies only by chance. ln of each squared factor has the standard deviation
        # √(5·8/n) over the 8 layers between, together under 0.25 decades. 5 of them are allowed,
        # which is far from the 4 decades by which the signal changes over these layers.
        checks.append(Check(f"lg(first/last hidden gradient), {name}", 0.0, ratio, 1.25))
        last = np.asarray(_mlp(x, *weights[:-1], np.eye(WIDTH)))
        row = {"He x": scale, "⟨W, dL/dW⟩": predicted}
        row["signal, last/first"] = float(np.linalg.norm(last) / np.linalg.norm(x))
        rows.append(row | {"weight gradient, first/last": 10**ratio})
        lines[name] = (list(range(1, DEPTH + 1)), norms)
    return Evidence(
        checks,
        "⟨W, dL/dW⟩ is the same in every layer to "
        f"{max(abs(c.measured / c.predicted - 1) for c in checks if c.predicted):.0e}. "
        "While the scale changes the signal "
        f"{rows[0]['signal, last/first']:.1e} to {rows[2]['signal, last/first']:.1e} times, the "
        "weight gradient of the first layer over the last hidden one's is "
        + ", ".join(f"{row['weight gradient, first/last']:.2g}" for row in rows)
        + ": that ratio detects nothing.",
        rows,
        curves("layer",
               "‖dL/dW_l‖", lines, log_y=True),
    )  # fmt: skip


def _cnn(x: Any, a: Any, b: Any, c: Any, d: Any) -> md.Tensor:
    x = md.ops.relu(md.ops.conv2d(x, a, padding=1))
    x = md.ops.relu(md.ops.conv2d(md.ops.max_pool2d(x, 2), b, stride=2, padding=1))
    return md.ops.relu(x.reshape(8, -1) @ c) @ d


def _mlp(x: Any, *weights: Any) -> md.Tensor:
    for w in weights[:-1]:
        x = md.ops.relu(x @ w)
    return x @ weights[-1]


def _invariants(
    model: Any, labels: np.ndarray, x: np.ndarray, weights: list[np.ndarray]
) -> tuple[list[float], float, float, list[float]]:
    """(⟨W_l, dL/dW_l⟩ of each layer, ⟨logits, dL/dlogits⟩, the tolerance, ‖dL/dW_l‖ of each)."""

    def loss(logits: Any) -> md.Tensor:
        return md.ops.cross_entropy(logits, labels)

    logits = np.asarray(model(x, *weights))
    slopes = np.asarray(md.grad(loss)(logits))
    predicted = float((logits * slopes).sum())
    tolerance = ROUNDING * float(np.linalg.norm(logits) * np.linalg.norm(slopes))
    gradients = md.grad(lambda *w: loss(model(x, *w)), tuple(range(len(weights))))(*weights)
    arrays = [np.asarray(g) for g in gradients]
    invariants = [float((w * g).sum()) for w, g in zip(weights, arrays, strict=True)]
    return invariants, predicted, tolerance, [float(np.linalg.norm(g)) for g in arrays]
