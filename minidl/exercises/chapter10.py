"""Predict the size of a signal behind many random layers, within 5 %."""

import math
from itertools import pairwise
from types import ModuleType

import numpy as np

from .answers import compare, function

NETWORKS = 300  # of each kind: the mean over them is known to about 1 %
Layer = tuple[int, int, float]


def check(answer: ModuleType) -> str:
    """Compare the prediction with measurements of random networks of one to six layers."""
    predict = function(answer, "predict")
    worst = 0.0
    for depth in (1, 2, 3, 4, 6):
        rng = np.random.default_rng(depth)
        start = float(rng.uniform(2, 3))
        widths = rng.integers(60, 200, depth + 1)
        layers = [
            (int(n), int(m), float(rng.uniform(0.8, 1.8)) * math.sqrt(2 / n))
            for n, m in pairwise(widths)
        ]
        measured, found = _measure(start, layers, rng), predict(start, list(layers))
        told = ", ".join(f"({n}, {m}, {sigma:.3f})" for n, m, sigma in layers)
        what = f"predict({start:.2f}, [{told}])"
        compare(what, found, measured, _mistakes(start, layers), tolerance=0.05)
        worst = max(worst, abs(float(found) / measured - 1))
    return f"Each prediction is near the measured size; the largest error is {worst:.1%}."


def _measure(start: float, layers: list[Layer], rng: np.random.Generator) -> float:
    """The root of the mean square of the outputs, over many networks."""
    squares = []
    for _ in range(NETWORKS):
        x = rng.normal(0, start, size=(8, layers[0][0])).astype(np.float32)
        for number, (fan_in, fan_out, sigma) in enumerate(layers):
            x = np.maximum(x, 0) if number else x
            x = x @ (rng.standard_normal((fan_in, fan_out), dtype=np.float32) * np.float32(sigma))
        squares.append(float(np.mean(np.square(x, dtype=float))))
    return math.sqrt(np.mean(squares))


def _mistakes(start: float, layers: list[Layer]) -> dict[str, float]:
    """The predictions that typical mistakes lead to."""
    depth = len(layers)
    gain = math.prod(math.sqrt(fan_in) * sigma for fan_in, _, sigma in layers)
    out = math.prod(math.sqrt(fan_out) * sigma for _, fan_out, sigma in layers)
    right = start * gain * 0.5 ** ((depth - 1) / 2)
    return {
        # Before the next one: with two layers both give the same number, and only this one is
        # right for a single layer.
        "ReLU halves the mean square, so the RMS falls by √½, not by ½.": (
            start * gain * 0.5 ** (depth - 1)
        ),
        "The last layer has no ReLU behind it: it halves nothing.": right * math.sqrt(0.5),
        "ReLU sets half of the numbers to 0, and so halves the mean square.": start * gain,
        "Each output is a sum over the inputs: count fan_in, not fan_out.": (
            start * out * 0.5 ** ((depth - 1) / 2)
        ),
        "That is the mean square: take its root.": right**2,
        "The inputs have the RMS `start`, not 1.": right / start,
        "`start` is an RMS: square it before you multiply mean squares.": math.sqrt(
            right**2 / start
        ),
        "That is the mean square, and `start` is not squared in it.": right**2 / start,
        "The mean square grows by fan_in·sigma², not by fan_in·sigma.": start
        * math.prod(math.sqrt(fan_in * sigma) for fan_in, _, sigma in layers)
        * 0.5 ** ((depth - 1) / 2),
        "Only the last layer is in it: multiply the factors of all layers.": (
            start * math.sqrt(layers[-1][0]) * layers[-1][2]
        ),
    }
