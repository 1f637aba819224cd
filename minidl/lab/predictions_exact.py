"""P7, P13, P14: identities, which hold to the last digits of float64 in every network."""

import math
from typing import Any

import numpy as np

import minidl as md

from . import theory
from .registry import Check, Result, experiment, holds

ROUNDING = 1e-10  # relative; a hundred float64 products and sums of a hundred terms stay below


@experiment(
    name="orthogonal-products",
    number="P7",
    title="Orthogonal products keep every direction, Gaussian ones lose nearly all",
    source="Saxe, McClelland, Ganguli 2013; Newman 1986, eq. 7",
    setup="deep linear networks: 100 orthogonal 64x64 matrices; up to 10 Gaussian 8x8 ones with "
    "variance 1/8, float64",
    prediction="orthogonal: all singular values 1. Gaussian: ln s_i grows "
    "½(ln(2/n) + ψ((n-i+1)/2)) per layer, so largest over smallest grows exponentially",
)
def orthogonal_products(seed: int, quick: bool) -> Result:
    """Singular values of products, where Gaussian ones have known Lyapunov exponents.

    Exact at every depth: E ln|det| = Σ_i of the exponents, and E ln ‖Pv‖ = the first of them.
    """
    rng = theory.stream(seed, 7)
    product: Any = np.eye(64)
    for _ in range(100):
        q, r = np.linalg.qr(rng.standard_normal((64, 64)))
        product = md.ops.matmul(q * np.sign(np.diag(r)), product)
    kept = np.linalg.svd(np.asarray(product), compute_uv=False)

    n, nets, short, long = 8, 500 if quick else 4000, 5, 10
    mean, _ = theory.log_chi_square(n)  # ψ(k/2) + ln 2 at k
    exponents = 0.5 * (mean[n - np.arange(n)] - math.log(n))
    logs: list[np.ndarray] = [np.zeros((nets, n))]
    p: Any = np.broadcast_to(np.eye(n), (nets, n, n))
    v: Any = theory.gaussian(rng, nets, n, 1)
    start = theory.log_norm(v)
    for _ in range(long):
        w = theory.gaussian(rng, nets, n, n, variance=1 / n)
        p, v = md.ops.matmul(w, p), md.ops.matmul(w, v)
        logs.append(np.log(np.linalg.svd(np.asarray(p), compute_uv=False)))
    spread = [log[:, 0] - log[:, -1] for log in logs]
    growth = (spread[long] - spread[short]) / (long - short)
    predicted = float(exponents[0] - exponents[-1])
    checks = [
        Check("orthogonal: largest s", 1.0, float(kept.max()), ROUNDING),
        Check("orthogonal: smallest s", 1.0, float(kept.min()), ROUNDING),
        theory.mean_check(
            "Gaussian: ln|det| per layer", float(exponents.sum()), logs[long].sum(1) / long
        ),
        theory.mean_check(
            "Gaussian: ln ‖Pv‖ per layer",
            float(exponents[0]),
            (theory.log_norm(np.asarray(v)) - start) / long,
        ),
        # The exponents are limits: from layer 5 to 10 neighbouring ones still repel a little.
        theory.mean_check(
            "Gaussian: ln(s_max/s_min) per layer", predicted, growth, 0.05 * predicted
        ),
    ]
    layers = list(range(long + 1))
    measured = [float(np.mean(s)) for s in spread]
    return Result(
        checks,
        holds(checks),
        f"After 100 orthogonal layers all singular values are 1 to {abs(kept - 1).max():.0e}; "
        f"after {long} Gaussian layers the largest is e^{measured[long]:.1f} times the smallest, "
        f"growing e^{growth.mean():.2f} per layer (predicted e^{predicted:.2f}).",
        [
            {
                "i": i + 1,
                "exponent": float(exponents[i]),
                "measured": float((logs[long] - logs[short])[:, i].mean() / (long - short)),
            }
            for i in range(n)
        ],
        {
            "title": "Saxe 2013: spread of the singular values of a product",
            "x": "matrices multiplied",
            "y": "ln(s_max/s_min)",
            "lines": {
                "Gaussian 8x8": (layers, measured),
                "orthogonal": (layers, [0.0] * len(layers)),
            },
            "predicted": {
                "exponents": (
                    layers[1:],
                    [measured[long] - predicted * (long - i) for i in layers[1:]],
                )
            },
        },
    )


@experiment(
    name="linear-rnn",
    number="P13",
    title="A recurrent gradient is ρ to the power of time",
    source="Pascanu, Mikolov, Bengio 2013, section 2.1",
    setup="h_t = ρ·Q·h_{t-1} + U·x_t, Q orthogonal 32x32, loss on h_T, T = 100, float64",
    prediction="‖dL/dh_0‖/‖dL/dh_T‖ = ρ^T exactly, for every input and every Q",
)
def linear_rnn(seed: int, quick: bool) -> Result:
    """The recurrent gradient ratio for ρ below, at and above 1."""
    rng = theory.stream(seed, 13)
    size, time = 32, 100
    checks, rows, lines = [], [], {}
    for rho in (0.9, 1.0, 1.1):
        q, _ = np.linalg.qr(rng.standard_normal((size, size)))
        u = rng.standard_normal((size, 4))

        def step(h: Any, q: np.ndarray = rho * q, u: np.ndarray = u) -> md.Tensor:
            return q @ h + u @ rng.standard_normal((4, 1))

        h = rng.standard_normal((size, 1))
        _, gradients = theory.through([step] * time, h, rng.standard_normal((size, 1)))
        norms = [float(np.linalg.norm(g)) for g in gradients]
        ratio = norms[0] / norms[-1]
        checks.append(Check(f"ρ = {rho}", rho**time, ratio, ROUNDING * rho**time))
        rows.append({"ρ": rho, "T": time, "ρ^T": rho**time, "measured": ratio})
        lines[f"ρ = {rho}"] = (list(range(time + 1)), [g / norms[-1] for g in norms[::-1]])
    return Result(
        checks,
        holds(checks),
        "After 100 steps the gradient is "
        + ", ".join(f"{r['measured']:.4g} (ρ = {r['ρ']})" for r in rows)
        + f" times its start; the largest relative error is "
        f"{max(abs(r['measured'] / r['ρ^T'] - 1) for r in rows):.0e}.",
        rows,
        {
            "title": "Pascanu 2013: gradient of a linear RNN",
            "x": "steps back in time",
            "y": "gradient norm, relative",
            "lines": lines,
            "predicted": {f"{r['ρ']}^t": ([0, time], [1.0, float(r["ρ^T"])]) for r in rows},
            "log_y": True,
        },
    )


@experiment(
    name="euler-invariant",
    number="P14",
    title="The same ⟨W, dL/dW⟩ in every layer",
    source="Euler's theorem on homogeneous functions; Du, Hu, Lee 2018",
    setup="ReLU networks with zero biases, float64: convolutions, pooling and dense layers; and "
    "MLPs of width 128 and 10 layers at He x 1/3, 1 and 3",
    prediction="⟨W_l, dL/dW_l⟩ = ⟨logits, dL/dlogits⟩ in every layer; so the first layer's weight "
    "gradient stays near the last one's, at any scale",
)
def euler_invariant(seed: int, quick: bool) -> Result:
    """Each layer is homogeneous of degree 1 in its weights, so Euler gives all the same number."""
    rng = theory.stream(seed, 14)
    checks, rows = [], []
    labels = rng.integers(0, 10, 8)

    def loss_of(logits: Any) -> md.Tensor:
        return md.ops.cross_entropy(logits, labels)

    def cnn(x: Any, a: Any, b: Any, c: Any, d: Any) -> md.Tensor:
        x = md.ops.relu(md.ops.conv2d(x, a, padding=1))
        x = md.ops.relu(md.ops.conv2d(md.ops.max_pool2d(x, 2), b, stride=2, padding=1))
        return md.ops.relu(x.reshape(8, -1) @ c) @ d

    shapes = ((6, 1, 3, 3), (8, 6, 3, 3), (8 * 4 * 4, 20), (20, 10))
    weights = [0.5 * rng.standard_normal(shape) for shape in shapes]
    images = rng.standard_normal((8, 1, 16, 16))
    invariants, predicted, tolerance, _ = _invariants(cnn, loss_of, images, weights)
    for i, value in enumerate(invariants):
        checks.append(Check(f"CNN, layer {i + 1}", predicted, value, tolerance))

    def mlp(x: Any, *weights: Any) -> md.Tensor:
        for w in weights[:-1]:
            x = md.ops.relu(x @ w)
        return x @ weights[-1]

    n, depth = 128, 10
    lines = {}
    for scale in (1 / 3, 1.0, 3.0):
        sigma = scale * math.sqrt(2 / n)
        weights = [sigma * rng.standard_normal((n, n)) for _ in range(depth - 1)]
        weights.append(sigma * rng.standard_normal((n, 10)))
        x = rng.standard_normal((8, n))
        invariants, predicted, tolerance, norms = _invariants(mlp, loss_of, x, weights)
        worst = predicted + max((v - predicted for v in invariants), key=abs)
        checks.append(
            Check(
                f"MLP, He x {scale:.3g}: the layer furthest off",
                predicted,
                worst,
                tolerance,
            )
        )
        ratio = math.log10(norms[0] / norms[-2])
        # ‖dL/dW_l‖ = ‖g_l‖·‖x_{l-1}‖: one grows as the other shrinks. What is left of the log is
        # the noise of both, √(5·8/n) each in ln of the square, together under 0.25 decades; the
        # activations change by 4 decades over these layers.
        checks.append(Check(f"lg(first/last hidden gradient), He x {scale:.3g}", 0.0, ratio, 1.25))
        signal = np.linalg.norm(np.asarray(mlp(x, *weights[:-1], np.eye(n)))) / np.linalg.norm(x)
        rows.append(
            {
                "He x": scale,
                "⟨W, dL/dW⟩": predicted,
                "signal, last/first": float(signal),
                "weight gradient, first/last": 10**ratio,
            }
        )
        lines[f"He x {scale:.3g}"] = (list(range(1, depth + 1)), norms)
    return Result(
        checks,
        holds(checks),
        "⟨W, dL/dW⟩ is the same in every layer to "
        f"{max(abs(c.measured / c.predicted - 1) for c in checks if c.predicted):.0e}. "
        "While the scale changes the signal "
        f"{rows[0]['signal, last/first']:.1e} to {rows[2]['signal, last/first']:.1e} times, the "
        "weight gradient of the first layer over the last hidden one's is "
        + ", ".join(f"{r['weight gradient, first/last']:.2g}" for r in rows)
        + ": that ratio detects nothing.",
        rows,
        {
            "title": "Euler's invariant: weight gradients hardly differ between layers",
            "x": "layer",
            "y": "‖dL/dW_l‖",
            "lines": lines,
            "log_y": True,
        },
    )


def _invariants(
    model: Any, loss_of: Any, x: np.ndarray, weights: list[np.ndarray]
) -> tuple[list[float], float, float, list[float]]:
    """⟨W_l, dL/dW_l⟩ of each layer, what it should be and how closely, and ‖dL/dW_l‖."""
    logits = np.asarray(model(x, *weights))
    slopes = np.asarray(md.grad(loss_of)(logits))
    predicted = float((logits * slopes).sum())
    tolerance = ROUNDING * float(np.linalg.norm(logits) * np.linalg.norm(slopes))
    gradients = md.grad(lambda *w: loss_of(model(x, *w)), tuple(range(len(weights))))(*weights)
    arrays = [np.asarray(g) for g in gradients]
    invariants = [float((w * g).sum()) for w, g in zip(weights, arrays, strict=True)]
    norms = [float(np.linalg.norm(g)) for g in arrays]
    return invariants, predicted, tolerance, norms
