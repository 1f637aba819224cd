"""How deep may a tanh network be, to train?

In the ordered phase each layer multiplies the squared norm of the gradient by χ₁ < 1, so it falls
by a factor of e every ξ = -1/ln χ₁ layers. A network learns as deep as its signals reach, which is
about 6ξ. At the critical weights χ₁ = 1, ξ is infinite, and depth has no such limit.

The greatest depth is no exact number: it grows with the steps and the rate. Theory gives its order
of magnitude, and says that there is no limit at the critical weights.
"""

import math
from typing import Any

import numpy as np

import minidl as md

from .. import sampling
from ..drawing import bars
from ..formulas import critical_variance, tanh_fixed_point
from ..registry import Check, Evidence, prediction

LEARNED = 0.2  # test accuracy: twice the chance of naming one of ten digits
WIDTH = 64


@prediction(
    4,
    title="A network trains as deep as signals reach",
    source="Schoenholz et al. 2017, section 5",
    setup="tanh MLPs of width 64, σ_b² = 0.05, on digits: 200 steps of SGD, rate 0.03 (0.01 at "
    "depth 64), batch 32; learned: test accuracy twice the chance.",
    predicts="trains to a depth of about 6ξ, ξ = -1/ln χ₁: at σ_w² = 1 yes at 22 = 6ξ, no at 48; "
    "at the critical σ_w² still at 64",
)
def trainable_depth(seed: int, quick: bool) -> Evidence:
    """How many of 10 networks learn; each has its own weights and its own order of the images."""
    nets, steps = (3, 100) if quick else (10, 200)
    rng = sampling.stream(seed, 4)
    reach = -1 / math.log(tanh_fixed_point(1.0, 0.05)[1])
    critical = critical_variance(0.05)
    checks, rows, counts = [], [], {}
    for variance, depth, rate, learns in (
        (1.0, round(6 * reach), 0.03, True),
        (1.0, 48, 0.03, False),
        (critical, 64, 0.01, True),  # a deeper network bears only a smaller rate
    ):
        accuracy = _train_together(rng, variance, depth, rate, nets, steps)
        mean, learned = float(accuracy.mean()), int((accuracy >= LEARNED).sum())
        label = f"σ_w² = {variance:.3g}, depth {depth}"
        # Over 50 networks of each kind the accuracy after 100 steps was 0.44 ± 0.10 (depth 22),
        # 0.10 ± 0.02 (48) and 0.37 ± 0.07 (64). After 200 steps it was 0.69, 0.10 and 0.55, with
        # the same spread. So a mean of three or more is at least 4 standard errors from 0.2.
        bound = {"low": LEARNED} if learns else {"high": LEARNED}
        checks.append(Check(f"mean accuracy, {label}", None, mean, **bound))
        if not quick:
            # About 1 network in 100 is on the wrong side of 0.2. That 4 of 10 are has a probability
            # of 1 in 500,000.
            of, low = (nets, nets - 3) if learns else (0, 0)
            checks.append(Check(f"learned, {label}", of, learned, low=low, high=low + 3))
        counts[label] = learned
        row = {"σ_w²": variance, "depth": depth, "depth/ξ": depth / reach if variance == 1 else 0.0}
        rows.append(row | {"learned": learned, "of": nets, "mean accuracy": mean})
    first, second, third = (row["learned"] for row in rows)
    return Evidence(
        checks,
        f"At σ_w² = 1 (ξ = {reach:.2f} layers) {first} of {nets} networks learned at depth "
        f"{rows[0]['depth']} and {second} at depth 48; at the critical σ_w² = {critical:.3f} "
        f"{third} of {nets} learned at depth 64.",
        rows,
        bars(
            f"share of {nets} networks that learned in {steps} steps",
            {label: number / nets for label, number in counts.items()},
        ),
        counts | {"of": nets},
    )


def _train_together(
    rng: np.random.Generator, variance: float, depth: int, rate: float, nets: int, steps: int
) -> np.ndarray:
    """Test accuracy of `nets` independent networks, trained side by side in stacked arrays."""
    x, labels = sampling.small_digits()
    x = x - x.mean(0)
    x = x * (8 / np.linalg.norm(x, axis=1, keepdims=True))
    test = rng.permutation(len(x))[:400]
    train = np.setdiff1d(np.arange(len(x)), test)

    def parameter(variance: float, *shape: int) -> md.Tensor:
        return md.tensor(sampling.gaussian(rng, *shape, variance=variance), requires_grad=True)

    layers = [
        (parameter(variance / WIDTH, nets, WIDTH, WIDTH), parameter(0.05, nets, 1, WIDTH))
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
