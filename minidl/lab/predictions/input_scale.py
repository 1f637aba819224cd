"""How does the scale of the input limit the learning rate?

Gradient descent on a quadratic loss multiplies the error along each direction of curvature λ by
1 - lr·λ in each step. It diverges as soon as that passes -1 for the steepest direction, exactly at

    lr = 2/λ_max

The curvature of linear least squares is the mean of x·xᵀ, which grows with the square of the
input's scale: pixels of 0..255 need a rate 255² = 65,025 times smaller than pixels in [0, 1].
"""

import math
from typing import Any

import numpy as np

import minidl as md

from .. import sampling
from ..drawing import curves
from ..registry import Check, Evidence, prediction


@prediction(
    11,
    title="The input's scale sets the largest learning rate",
    source="LeCun et al. 1998, section 5",
    setup="linear least squares on digits, gradient descent, float64; λ_max by power "
    "iteration on hvp; the largest stable rate by bisection.",
    predicts="diverges exactly when lr > 2/λ_max; pixels 0..255 need a rate 255² = 65,025 times "
    "smaller than pixels in [0, 1]",
)
def input_scale(seed: int, quick: bool) -> Evidence:
    """The measured edge of stability beside 2/λ_max, for two scales of the same images."""
    rng = sampling.stream(seed, 11)
    images = sampling.small_digits()[0].astype(np.float64)
    images = images[rng.permutation(len(images))[: 300 if quick else 1000]]
    steps = 300 if quick else 600
    checks, rows, edges, lines = [], [], [], {}
    for name, scale in (("[0, 1]", 1.0), ("0..255", 255.0)):
        x = images * scale
        y = x @ rng.standard_normal((64, 1))  # linear in x, so that the lowest loss is 0

        def loss(w: Any, x: np.ndarray = x, y: np.ndarray = y) -> md.Tensor:
            error = md.ops.matmul(x, w) - y
            return (error * error).sum() / (2 * len(x))

        start = rng.standard_normal((64, 1))
        largest = _largest_curvature(loss, start)
        predicted = 2 / largest
        low, high = predicted / 4, predicted * 4
        while high / low > 1.003:
            rate = math.sqrt(low * high)
            losses = _descend(loss, start, rate, steps)
            if losses[-1] > losses[len(losses) // 2]:
                high = rate
            else:
                low = rate
        edge = math.sqrt(low * high)
        edges.append(edge)
        # At a rate 1 % above or below the edge, the steepest direction's part of the loss changes
        # by the factor (1 ± 0.02)^steps between the middle and the end, 380 times up or down or
        # more. The other directions, which change slowly, cannot hide that.
        checks.append(Check(f"edge·λ_max/2, {name}", 1.0, edge / predicted, 0.01))
        row = {"pixels": name, "λ_max": largest, "2/λ_max": predicted}
        rows.append(row | {"largest stable rate": edge})
        for factor in (0.98, 1.02):
            losses = _descend(loss, start, factor * predicted, steps)
            drawn = (list(range(len(losses))), [v / losses[0] for v in losses])
            lines[f"{name}, {factor} · 2/λ_max"] = drawn
    ratio = edges[0] / edges[1]
    checks.append(Check("ratio of the rates", 255.0**2, ratio, 0.02 * 255**2))
    small, large = (f"{row['2/λ_max']:.4g}" for row in rows)
    return Evidence(
        checks,
        f"Descent is stable up to {edges[0]:.4g} on [0, 1] (2/λ_max = {small}) and up to "
        f"{edges[1]:.4g} on 0..255 ({large}): {ratio:,.0f} times smaller.",
        rows,
        curves("step", "loss, relative", lines,
               log_y=True),
    )  # fmt: skip


def _largest_curvature(loss: Any, start: np.ndarray) -> float:
    v = start
    for _ in range(100):
        v = v / np.linalg.norm(v)
        product = np.asarray(md.hvp(loss, start, v))
        largest, v = float((v * product).sum()), product
    return largest


def _descend(loss: Any, start: np.ndarray, rate: float, steps: int) -> list[float]:
    """The loss before each step; ended early where it has grown or shrunk 10²⁰ times."""
    step = md.value_and_grad(loss)
    w, losses = start, []
    for _ in range(steps):
        value, slope = step(w)
        losses.append(float(value))
        if not 1e-20 < losses[-1] / losses[0] < 1e20:
            break
        w = w - rate * np.asarray(slope)
    return losses
