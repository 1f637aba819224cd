"""P1 to P3: how much one layer enlarges signal and gradient at initialisation."""

import math
from typing import Any

import numpy as np

import minidl as md

from . import theory
from .registry import Check, Result, experiment, holds


@experiment(
    name="he-gain",
    number="P1",
    title="Signal and gradient grow by one factor per layer",
    source="He et al. 2015, eqs. 10 and 14; Hanin, Rolnick 2018",
    setup="ReLU MLPs of width n, weights N(0, σ²), no bias, float64; ‖x_l‖ and ‖dL/dx_l‖",
    prediction="both grow √(nσ²/2)·e^(-1.25/n) per layer: about 1 for He, 0.707 for 1/n, 11.3 for "
    "N(0, 1) at n = 256",
)
def he_gain(seed: int, quick: bool) -> Result:
    """The gain per layer, forward and backward.

    With z ~ N(0, 1)ⁿ a layer multiplies ‖x‖² by σ²·‖relu(z)‖², whatever x is, so that the log of
    its gain has an exactly known mean and variance. The gradient's mean is the same: the signs of
    a Gaussian cotangent make the gates independent of the weights that it meets.
    """
    rng = theory.stream(seed, 1)
    depth = 20
    checks, rows, lines = [], [], {}
    scales: list[tuple[str, int, float]] = [
        ("He, 2/n", 256, 2 / 256),
        ("1/n", 256, 1 / 256),
        ("N(0, 1)", 256, 1.0),
        ("He, 2/n", 32, 2 / 32),
    ]
    for name, n, variance in scales:
        nets = (120 if quick else 1000) if n == 32 else (12 if quick else 40)
        mean, spread = theory.relu_log_moments(n)
        predicted = math.exp((mean + math.log(n * variance / 2)) / 2)
        layers = [_relu_layer(rng, nets, n, variance) for _ in range(depth)]
        x, u = theory.gaussian(rng, nets, n, 1), theory.gaussian(rng, nets, n, 1)
        signals, gradients = theory.through(layers, x, u)
        # ln ‖x‖² has `spread` per layer; the gradient's ends add the variance of two ln χ²_n.
        error = math.sqrt((depth * spread + 2 * 2 / n) / nets) / depth / 2
        tolerance = predicted * math.expm1(theory.SIGMAS * error)
        row: dict[str, Any] = {"weights": name, "n": n, "√(nσ²/2)": math.sqrt(n * variance / 2)}
        row["predicted"] = predicted
        for what, first, last in (
            ("signal", signals[0], signals[-1]),
            ("gradient", gradients[-1], gradients[0]),
        ):
            growth = theory.log_norm(last) - theory.log_norm(first)
            measured = math.exp(growth.mean() / depth)
            checks.append(Check(f"{what}, {name}, n={n}", predicted, measured, tolerance))
            row[what] = measured
        rows.append(row)
        norms = [float(np.exp(theory.log_norm(s).mean())) for s in signals]
        lines[f"{name}, n={n}"] = (list(range(depth + 1)), [v / norms[0] for v in norms])
    checks.append(_library_check(seed, quick))
    return Result(
        checks,
        holds(checks),
        f"At n = 256 the signal grows {rows[0]['signal']:.3f}, {rows[1]['signal']:.3f} and "
        f"{rows[2]['signal']:.2f} times per layer for He, 1/n and N(0, 1); at n = 32 even He loses "
        f"{100 * (1 - rows[3]['signal']):.1f} % per layer (e^(-1.25/n) says "
        f"{100 * -math.expm1(-1.25 / 32):.1f} %).",
        rows,
        {
            "title": "He 2015: growth of the signal",
            "x": "layer",
            "y": "‖x_l‖/‖x_0‖, geometric mean",
            "lines": lines,
            "predicted": {
                f"theory, {r['weights']}, n={r['n']}": (
                    [0, depth],
                    [1.0, float(r["predicted"] ** depth)],
                )
                for r in rows
            },
            "log_y": True,
        },
    )


def _relu_layer(rng: np.random.Generator, nets: int, n: int, variance: float) -> theory.Layer:
    w = theory.gaussian(rng, nets, n, n, variance=variance)
    return lambda x: md.ops.relu(w @ x)


def _library_check(seed: int, quick: bool) -> Check:
    """The same gain through the library's own layers and its he_normal, in float32."""
    n, depth, nets = 256, 20, 4 if quick else 10
    md.manual_seed(seed)
    x = theory.stream(seed, 101).standard_normal((1, n)).astype(np.float32)
    growth = []
    for _ in range(nets):
        layers: list[md.nn.Module] = []
        for _ in range(depth):
            layers += [md.nn.Dense(n, n, init="he_normal"), md.nn.ReLU()]
        y = md.nn.Sequential(*layers)(x).numpy()
        growth.append(float(theory.log_norm(y)[0] - theory.log_norm(x)[0]))
    mean, spread = theory.relu_log_moments(n)
    error = math.sqrt(spread / depth / nets) / 2
    return Check(
        "signal, Dense(256, 256, init='he_normal')",
        math.exp(mean / 2),
        math.exp(float(np.mean(growth)) / depth),
        math.expm1(theory.SIGMAS * error),
    )


@experiment(
    name="depth-width",
    number="P2",
    title="Depth adds spread between seeds, width takes it away",
    source="Hanin, Rolnick 2018, theorem 5; Hanin, Nica 2018",
    setup="He-Gaussian ReLU MLPs without bias, float64, M = ‖x_L‖²/‖x_0‖² over many seeds",
    prediction="E M = 1, while ln M has mean about -5β/2 and variance about 5β, β = Σ 1/n_l",
)
def depth_width(seed: int, quick: bool) -> Result:
    """Mean and variance of ln M over networks, against the exact ones of Σ ln(2χ²_K/n).

    E M² is no test: a few networks of a million carry it. Width 32 leaves no network without a
    living unit (2⁻³² per layer), whose ln M would be -inf.
    """
    rng = theory.stream(seed, 2)
    nets = 400 if quick else 2000
    checks, rows = [], []
    for n, depth in ((100, 5), (64, 8), (32, 8), (32, 16), (32, 32)):
        x = theory.gaussian(rng, nets, n, 1)
        y: Any = x
        with md.no_grad():
            for _ in range(depth):
                y = _relu_layer(rng, nets, n, 2 / n)(y)
        log_m = 2 * (theory.log_norm(np.asarray(y)) - theory.log_norm(x))
        mean, spread = (depth * m for m in theory.relu_log_moments(n))
        label = f"L={depth}, n={n}"
        # ln M is a sum of `depth` terms and nearly normal, so its sample variance has a relative
        # error of √(2/nets); the terms' skewness and kurtosis widen it by less than a fifth.
        checks += [
            Check(
                f"mean ln M, {label}", mean, log_m.mean(), theory.SIGMAS * math.sqrt(spread / nets)
            ),
            Check(
                f"var ln M, {label}",
                spread,
                log_m.var(ddof=1),
                1.2 * theory.SIGMAS * spread * math.sqrt(2 / nets),
            ),
        ]
        beta = depth / n
        if beta <= 0.05:  # the tail is light enough for the plain mean: var M = (1 + 5/n)^L - 1
            error = math.sqrt(((1 + 5 / n) ** depth - 1) / nets)
            checks.append(
                Check(f"E M, {label}", 1.0, float(np.exp(log_m).mean()), theory.SIGMAS * error)
            )
        rows.append(
            {
                "L": depth,
                "n": n,
                "β": beta,
                "mean ln M": float(log_m.mean()),
                "exact mean": mean,
                "-5β/2": -2.5 * beta,
                "var ln M": float(log_m.var(ddof=1)),
                "exact variance": spread,
                "5β": 5 * beta,
            }
        )
    betas = [r["β"] for r in rows]
    return Result(
        checks,
        holds(checks),
        f"At width 32 the variance of ln M over seeds is {rows[2]['var ln M']:.2f}, "
        f"{rows[3]['var ln M']:.2f} and {rows[4]['var ln M']:.2f} for 8, 16 and 32 layers "
        f"(exactly {rows[2]['exact variance']:.2f}, {rows[3]['exact variance']:.2f}, "
        f"{rows[4]['exact variance']:.2f}); at 8 layers width 64 has {rows[1]['var ln M']:.2f}.",
        rows,
        {
            "title": "Hanin and Rolnick 2018: mean and spread of ln M over seeds",
            "x": "β = Σ 1/n",
            "y": "ln M over seeds",
            "lines": {
                "variance, measured": (betas, [r["var ln M"] for r in rows]),
                "mean, measured": (betas, [r["mean ln M"] for r in rows]),
            },
            "predicted": {
                "variance, exact": (betas, [r["exact variance"] for r in rows]),
                "mean, exact": (betas, [r["exact mean"] for r in rows]),
            },
        },
    )
