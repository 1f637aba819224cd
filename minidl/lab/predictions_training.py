"""P4, P11: what theory at initialisation says about training."""

import math
from typing import Any

import numpy as np

import minidl as md

from . import theory
from .registry import Check, Result, experiment, holds

LEARNED = 0.2  # test accuracy: twice the chance of naming one of ten digits
WIDTH = 64


def _digits() -> tuple[np.ndarray, np.ndarray]:
    """The 1,797 digits as (N, 64) vectors of length 8 about their mean, and their labels."""
    data = md.data.digits()
    x = data.images[:, 0, 2:26:3, 2:26:3].reshape(len(data), 64)
    x = x - x.mean(0)
    return x * (8 / np.linalg.norm(x, axis=1, keepdims=True)), data.labels


@experiment(
    name="trainable-depth",
    number="P4",
    title="A network trains as deep as signals reach",
    source="Schoenholz et al. 2017, section 5",
    setup="tanh MLPs of width 64, σ_b² = 0.05, on digits: 200 steps of SGD, rate 0.03 (0.01 "
    "at depth 64), batch 32; "
    "learned: test accuracy twice the chance",
    prediction="trains to a depth of about 6ξ, ξ = -1/ln χ₁: at σ_w² = 1 yes at 22 = 6ξ, no at 48; "
    "at the critical σ_w² still at 64",
)
def trainable_depth(seed: int, quick: bool) -> Result:
    """How many of 10 networks learn; each has its own weights and its own order of the images.

    The depth itself is no exact number: it grows with the steps and the rate. What theory says is
    the order of it, 6ξ, and that the critical point has no such limit.
    """
    nets, steps = (3, 100) if quick else (10, 200)
    rng = theory.stream(seed, 4)
    _, chi = theory.tanh_fixed_point(1.0, 0.05)
    reach = -1 / math.log(chi)
    critical = theory.critical_variance(0.05)
    checks, rows = [], []
    counts = {}
    for variance, depth, rate, learns in (
        (1.0, round(6 * reach), 0.03, True),
        (1.0, 48, 0.03, False),
        (critical, 64, 0.01, True),  # a deeper sum of gradients bears a smaller rate
    ):
        accuracy = _train_together(rng, variance, depth, rate, nets, steps)
        learned = int((accuracy >= LEARNED).sum())
        label = f"σ_w² = {variance:.3g}, depth {depth}"
        # Over 50 networks of each kind the accuracy after 100 steps was 0.44 ± 0.10 (depth 22),
        # 0.10 ± 0.02 (48) and 0.37 ± 0.07 (64), after 200 steps 0.69, 0.10 and 0.55, as widely
        # spread: a mean of three or more lies at least 4 standard errors from 0.2.
        bound = {"low": LEARNED} if learns else {"high": LEARNED}
        checks.append(Check(f"mean accuracy, {label}", LEARNED, float(accuracy.mean()), **bound))
        if not quick:
            # About 1 network in 100 is on the wrong side, so 4 of 10 are once in 500,000 times.
            low, high = (nets - 3, nets) if learns else (0, 3)
            checks.append(
                Check(f"learned, {label}", nets if learns else 0, learned, low=low, high=high)
            )
        counts[label] = learned
        rows.append(
            {
                "σ_w²": variance,
                "depth": depth,
                "depth/ξ": depth / reach if variance == 1.0 else 0.0,
                "learned": learned,
                "of": nets,
                "mean accuracy": float(accuracy.mean()),
            }
        )
    return Result(
        checks,
        holds(checks),
        f"At σ_w² = 1 (ξ = {reach:.2f} layers) {rows[0]['learned']} of {nets} networks learned at "
        f"depth {rows[0]['depth']} and {rows[1]['learned']} at depth 48; at the critical σ_w² = "
        f"{critical:.3f} {rows[2]['learned']} of {nets} learned at depth 64.",
        rows,
        {
            "title": "Schoenholz 2017: which depths learn",
            "x": "",
            "y": f"share of {nets} networks that learned in {steps} steps",
            "bars": {label: number / nets for label, number in counts.items()},
        },
        counts | {"of": nets},
    )


def _train_together(
    rng: np.random.Generator, variance: float, depth: int, rate: float, nets: int, steps: int
) -> np.ndarray:
    """Test accuracy of `nets` independent networks, trained side by side in stacked arrays."""
    x, labels = _digits()
    test = rng.permutation(len(x))[:400]
    train = np.setdiff1d(np.arange(len(x)), test)

    def parameter(variance: float, *shape: int) -> md.Tensor:
        return md.tensor(theory.gaussian(rng, *shape, variance=variance), requires_grad=True)

    layers = [
        (
            parameter(variance / WIDTH, nets, WIDTH, WIDTH),
            parameter(0.05, nets, 1, WIDTH),
        )
        for _ in range(depth)
    ]
    head = parameter(1 / WIDTH, nets, WIDTH, 10)

    def model(h: Any) -> md.Tensor:
        for w, b in layers:
            h = md.ops.tanh(h @ w + b)
        return h @ head

    optimizer = md.optim.SGD([*(p for layer in layers for p in layer), head], lr=rate)
    for _ in range(steps):
        batch = rng.choice(train, (nets, 32))
        logits = model(x[batch]).reshape(-1, 10)
        loss = md.ops.cross_entropy(logits, labels[batch].ravel()) * nets  # a mean for each
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with md.no_grad():
        found = model(x[test]).numpy().argmax(-1)
    return (found == labels[test]).mean(-1)


@experiment(
    name="input-scale",
    number="P11",
    title="The input's scale sets the largest learning rate",
    source="LeCun et al. 1998, section 5",
    setup="linear least squares on digits, gradient descent, float64; λ_max by power "
    "iteration on hvp; the largest stable rate by bisection",
    prediction="diverges exactly when lr > 2/λ_max; pixels 0..255 need a rate 255² = 65,025 times "
    "smaller than pixels in [0, 1]",
)
def input_scale(seed: int, quick: bool) -> Result:
    """The measured edge of stability beside 2/λ_max, for two scales of the same images."""
    rng = theory.stream(seed, 11)
    images = md.data.digits().images[:, 0, 2:26:3, 2:26:3].reshape(-1, 64).astype(np.float64)
    images = images[rng.permutation(len(images))[: 300 if quick else 1000]]
    steps = 300 if quick else 600
    checks, rows = [], []
    edges, lines = [], {}
    for name, scale in (("[0, 1]", 1.0), ("0..255", 255.0)):
        x = images * scale
        y = x @ rng.standard_normal(
            (64, 1)
        )  # a target that a linear map reaches: the loss can be 0

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
        # At a rate 1 % off, the fastest direction's share of the loss changes by a factor
        # (1 ± 0.02)^steps between the middle and the end, 20 or more: slow ones cannot hide it.
        checks.append(Check(f"edge·λ_max/2, {name}", 1.0, edge / predicted, 0.01))
        rows.append(
            {"pixels": name, "λ_max": largest, "2/λ_max": predicted, "largest stable rate": edge}
        )
        for factor in (0.98, 1.02):
            losses = _descend(loss, start, factor * predicted, steps)
            lines[f"{name}, {factor} · 2/λ_max"] = (
                list(range(len(losses))),
                [v / losses[0] for v in losses],
            )
    ratio = edges[0] / edges[1]
    checks.append(Check("ratio of the rates", 255.0**2, ratio, 0.02 * 255**2))
    return Result(
        checks,
        holds(checks),
        f"Descent is stable up to {rows[0]['largest stable rate']:.4g} on [0, 1] (2/λ_max = "
        f"{rows[0]['2/λ_max']:.4g}) and up to {rows[1]['largest stable rate']:.4g} on 0..255 "
        f"({rows[1]['2/λ_max']:.4g}): {ratio:,.0f} times smaller.",
        rows,
        {
            "title": "Least squares beside the edge of stability",
            "x": "step",
            "y": "loss, relative",
            "lines": lines,
            "log_y": True,
        },
    )


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
