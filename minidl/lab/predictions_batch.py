"""P5, P6, P8: what BatchNorm and shortcuts do to the gradient at initialisation."""

import math
from typing import Any

import numpy as np

import minidl as md

from . import theory
from .registry import Check, Result, experiment, holds


def batch_norm_growth(batch: int) -> float:
    """The factor of the squared gradient norm per BatchNorm + ReLU layer, at infinite width.

    One neuron's standardised values y over the batch lie uniformly on a sphere of radius √B in
    the space 1ᵀy = 0, so every mean below is one over a Gaussian in it: its values have variance
    1 - 1/B and correlation -1/(B-1). As B grows the factor goes to π/(π-1).
    Source: Yang et al. 2019, theorem 3.9 and appendix, here at finite B.
    """
    b = float(batch)
    angle = math.acos(-1 / (b - 1))
    both_on = (math.pi - angle) / (2 * math.pi)  # P(y_i > 0, y_j > 0)
    # E relu(y_i)·relu(y_j), E relu(y_i)²: the arc-cosine kernel (Cho, Saul 2009).
    product = (math.sin(angle) + (math.pi - angle) * math.cos(angle)) / (2 * math.pi)
    next_variance = 0.5 - product  # of the next layer's values about their mean, per σ_w²
    # The gradient is spread evenly in 1ᵀg = 0: its covariance is G = I - 11ᵀ/B. It passes the
    # gates D = diag(d), then BatchNorm's √B/‖Gh‖·(G - yyᵀ/B), where E 1/‖Gh‖² ~ 1/(B-3).
    gates = b / 2 - 0.5 - (b - 1) * both_on  # E dᵀG d = E [K - K²/B], K = dᵀ1
    along = 0.5 + (b - 1) * product  # E (dᵀy)²/B
    passed = (b - 2) / 2 - (gates - along) / b
    return passed * b / ((b - 1) * (b - 3) * next_variance)


def _batch_norm_layer(rng: np.random.Generator, n: int) -> theory.Layer:
    w = theory.gaussian(rng, n, n, variance=1 / n)
    return lambda h: md.ops.relu(md.ops.standardize(h, axis=0, eps=0.0)) @ w


@experiment(
    name="batchnorm-explosion",
    number="P5",
    title="BatchNorm makes the gradient explode at initialisation",
    source="Yang et al. 2019, corollary 3.10",
    setup="BatchNorm + ReLU + Gaussian weights, width 512, batches of 8, 32 and 128, 14 layers, "
    "float64",
    prediction="the gradient norm grows √(π/(π-1)) = 1.211 per layer for large batches; more in "
    "small ones, by an exact formula",
)
def batchnorm_explosion(seed: int, quick: bool) -> Result:
    """The gradient's growth per layer through BatchNorm, for batches and in their limit."""
    rng = theory.stream(seed, 5)
    n, depth, nets = (128, 10, 20) if quick else (512, 14, 20)
    limit = math.pi / (math.pi - 1)
    backwards = list(range(depth))
    checks = [Check("limit of the formula, B = 10⁷", limit, batch_norm_growth(10**7), 1e-6)]
    rows: list[dict[str, Any]] = []
    lines = {}
    for batch in (8, 32) if quick else (8, 32, 128):
        predicted = batch_norm_growth(batch)
        logs = np.zeros((nets, depth))
        for i in range(nets):
            # One layer more in front: it brings the input's variance to that of the others.
            layers = [_batch_norm_layer(rng, n) for _ in range(depth + 1)]
            u = theory.gaussian(rng, batch, n)
            _, gradients = theory.through(layers, theory.gaussian(rng, batch, n), u - u.mean(0))
            logs[i] = [math.log(np.linalg.norm(g)) for g in gradients[-2:0:-1]]
        growth = (logs[:, -1] - logs[:, 0]) / (depth - 1)
        # A mean over n neurons fluctuates, so its log lies lower, by a term in 1/n: 0.006 at batch
        # 8 and n = 128 (20 seeds), 0.7/n, where the few small ‖Gh‖ weigh most.
        checks.append(
            theory.mean_check(f"ln gain, batch {batch}", math.log(predicted) / 2, growth, 1 / n)
        )
        measured = float(np.exp(growth.mean()))
        rows.append({"batch": batch, "predicted": math.sqrt(predicted), "measured": measured})
        lines[f"batch {batch}"] = (backwards, np.exp((logs - logs[:, :1]).mean(0)).tolist())
    rows.append({"batch": "∞", "predicted": math.sqrt(limit), "measured": None})
    return Result(
        checks,
        holds(checks),
        "The gradient norm grows "
        + ", ".join(f"{r['measured']:.4f} (batch {r['batch']})" for r in rows[:-1])
        + " times per layer; theory says "
        + ", ".join(f"{r['predicted']:.4f}" for r in rows[:-1])
        + f", and √(π/(π-1)) = {math.sqrt(limit):.4f} for large batches.",
        rows,
        {
            "title": "Yang 2019: the gradient through BatchNorm + ReLU",
            "x": "layers passed backwards",
            "y": "gradient norm, relative",
            "lines": lines,
            "predicted": {"√(π/(π-1))": (backwards, [limit ** (i / 2) for i in backwards])},
            "log_y": True,
        },
    )


@experiment(
    name="residual-scale",
    number="P6",
    title="A residual branch doubles the signal unless it is scaled",
    source="Hanin, Rolnick 2018; Zhang, Dauphin, Ma 2019 (Fixup)",
    setup="x + a·W·relu(x), He weights, width 256, L = 16, float64",
    prediction="the squared norms of signal and gradient grow (1 + a²)^L: 2^L for a = 1, e for "
    "a = 1/√L, 1 for a = 0",
)
def residual_scale(seed: int, quick: bool) -> Result:
    """Growth of signal and gradient through L residual blocks."""
    rng = theory.stream(seed, 6)
    n, depth, nets = (128, 16, 60) if quick else (256, 16, 60)
    checks, rows, lines = [], [], {}
    layers = list(range(depth + 1))
    for name, a in (("1", 1.0), ("1/√L", 1 / math.sqrt(depth)), ("0", 0.0)):

        def block(a: float = a) -> theory.Layer:
            w = a * theory.gaussian(rng, nets, n, n, variance=2 / n)
            return lambda h: h + w @ md.ops.relu(h)

        x, u = theory.gaussian(rng, nets, n, 1), theory.gaussian(rng, nets, n, 1)
        signals, gradients = theory.through([block() for _ in range(depth)], x, u)
        predicted = depth * math.log1p(a * a)
        grown = {
            "signal": 2 * (theory.log_norm(signals[-1]) - theory.log_norm(signals[0])),
            "gradient": 2 * (theory.log_norm(gradients[0]) - theory.log_norm(gradients[-1])),
        }
        row: dict[str, Any] = {"a": name, "predicted": math.exp(predicted)}
        for what, growth in grown.items():
            # Growth is (1 + a²)^L in the mean; its log lies lower by half the variance of its
            # parts: 4a²/n from x·Wr, 5a⁴/n from ‖Wr‖² and the share of x that is on. Twice that.
            allowance = depth * (4 * a**2 + 5 * a**4) / (1 + a**2) ** 2 / n + 1e-12
            checks.append(
                theory.mean_check(f"ln growth of {what}, a = {name}", predicted, growth, allowance)
            )
            row[what] = float(np.exp(growth.mean()))
        rows.append(row)
        squares = [float(np.exp(2 * theory.log_norm(s).mean())) for s in signals]
        lines[f"a = {name}"] = (layers, [s / squares[0] for s in squares])
    return Result(
        checks,
        holds(checks),
        f"Over {depth} blocks the squared signal grows {rows[0]['signal']:.3g} times for a = 1 "
        f"(2^L = {2**depth}), {rows[1]['signal']:.2f} for a = 1/√L ((1 + 1/L)^L = "
        f"{rows[1]['predicted']:.2f}, e in the limit) and {rows[2]['signal']:.2f} for a = 0; "
        f"the gradient {rows[0]['gradient']:.3g}, {rows[1]['gradient']:.2f} and "
        f"{rows[2]['gradient']:.2f} times.",
        rows,
        {
            "title": "Residual blocks x + a·W·relu(x): growth of the signal",
            "x": "block",
            "y": "‖x_l‖²/‖x_0‖²",
            "lines": lines,
            "predicted": {
                f"(1 + a²)^l, a = {r['a']}": (
                    layers,
                    [float(r["predicted"] ** (i / depth)) for i in layers],
                )
                for r in rows
            },
            "log_y": True,
        },
    )


@experiment(
    name="shattered-gradients",
    number="P8",
    title="Gradients of two inputs lose their likeness with depth",
    source="Balduzzi et al. 2017, theorem 1",
    setup="plain BatchNorm + ReLU networks, width 512, batch 128, float64; the same output "
    "direction for every input, signs alternating so that BatchNorm does not cancel it",
    prediction="the cosine between the gradients of two inputs is 2^(-L)",
)
def shattered_gradients(seed: int, quick: bool) -> Result:
    """The mean cosine over all pairs of inputs, layer by layer.

    A unit passes both gradients when it is on for both inputs (¼, independent after BatchNorm),
    and each when it is on for it (½): the likeness halves in every layer.
    """
    rng = theory.stream(seed, 8)
    n, batch, depth, nets = (256, 64, 6, 20) if quick else (512, 128, 8, 24)
    signs = np.where(np.arange(batch) % 2, 1.0, -1.0)[:, None]
    cosines = np.zeros((nets, depth + 1))
    for i in range(nets):
        layers = [_batch_norm_layer(rng, n) for _ in range(depth)]
        u = signs * theory.gaussian(rng, 1, n)
        _, gradients = theory.through(layers, theory.gaussian(rng, batch, n), u)
        cosines[i] = [_mean_cosine(signs * g) for g in gradients[::-1]]
    both_on = (math.pi - math.acos(-1 / (batch - 1))) / (2 * math.pi)
    checks, rows = [], []
    for passed in range(1, depth + 1):
        exact = 0.5**passed
        # In a batch of B a pair is on together 2·both_on = ½ - 1/πB of the time, and BatchNorm
        # mixes gradients by 1/B: together below 4/B of the value per layer. Two signals of the
        # batch are never alike, so a pair of gradients that shares nothing has cosine -1/B.
        allowance = 4 / batch * passed * exact + 1 / batch
        samples = cosines[:, passed]
        if passed <= 4:  # further back the cosine is smaller than its own spread
            checks.append(
                theory.mean_check(f"cosine after {passed} layers", exact, samples, allowance)
            )
        rows.append({"layers": passed, "2^-L": exact, "measured": float(samples.mean())})
    rows[0]["pairs on together"] = 2 * both_on
    layers_passed = list(range(depth + 1))
    return Result(
        checks,
        holds(checks),
        "The mean cosine of the gradients of two inputs is "
        + ", ".join(f"{r['measured']:.3f}" for r in rows[:5])
        + " after 1 to 5 layers: it halves in each.",
        rows,
        {
            "title": "Balduzzi 2017: shattered gradients, plain + BatchNorm",
            "x": "layers passed backwards",
            "y": "mean cosine of two inputs' gradients",
            "lines": {"measured": (layers_passed, cosines.mean(0).tolist())},
            "predicted": {"2^-L": (layers_passed, [0.5**i for i in layers_passed])},
            "log_y": True,
        },
    )


def _mean_cosine(g: np.ndarray) -> float:
    """Σ⟨g_i, g_j⟩ over pairs of rows over the same with ‖g‖² in place of the products."""
    squares = float((g * g).sum())
    pairs = float((g.sum(0) ** 2).sum()) - squares
    return pairs / (squares * (len(g) - 1))
