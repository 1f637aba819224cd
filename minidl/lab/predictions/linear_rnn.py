"""By how much does a gradient grow on its way back through time?

A linear recurrent network multiplies its state by the same matrix at every step,
h_t = ρ·Q·h_{t-1} + U·x_t, and the gradient by its transpose on the way back. An orthogonal Q keeps
every length, so only ρ changes the gradient's norm:

    ‖dL/dh_0‖ / ‖dL/dh_T‖ = ρ^T

The ratio does not depend on the input or on Q. With ρ = 1.1 it is 13,781 after 100 steps.
"""

from typing import Any

import numpy as np

import minidl as md

from .. import sampling
from ..drawing import curves
from ..registry import Check, Evidence, prediction

SIZE, TIME = 32, 100
ROUNDING = 1e-10  # a relative error that a hundred products in float64 never reach


@prediction(
    13,
    title="A recurrent gradient is ρ to the power of time",
    source="Pascanu, Mikolov, Bengio 2013, section 2.1",
    setup="h_t = ρ·Q·h_{t-1} + U·x_t, Q orthogonal 32x32, loss on h_T, T = 100, float64.",
    predicts="‖dL/dh_0‖/‖dL/dh_T‖ = ρ^T exactly, for every input and every Q",
)
def linear_rnn(seed: int, quick: bool) -> Evidence:
    """The recurrent gradient ratio for ρ below, at and above 1."""
    rng = sampling.stream(seed, 13)
    checks, rows, lines, theory = [], [], {}, {}
    for rho in (0.9, 1.0, 1.1):
        q, _ = np.linalg.qr(rng.standard_normal((SIZE, SIZE)))
        u = rng.standard_normal((SIZE, 4))

        def step(h: Any, q: np.ndarray = rho * q, u: np.ndarray = u) -> md.Tensor:
            return q @ h + u @ rng.standard_normal((4, 1))

        h = rng.standard_normal((SIZE, 1))
        _, gradients = sampling.through([step] * TIME, h, rng.standard_normal((SIZE, 1)))
        norms = [float(np.linalg.norm(g)) for g in gradients]
        ratio, predicted = norms[0] / norms[-1], rho**TIME
        checks.append(Check(f"ρ = {rho}", predicted, ratio, ROUNDING * predicted))
        rows.append({"ρ": rho, "T": TIME, "ρ^T": predicted, "measured": ratio})
        lines[f"ρ = {rho}"] = (list(range(TIME + 1)), [g / norms[-1] for g in norms[::-1]])
        theory[f"{rho}^t"] = ([0, TIME], [1.0, predicted])
    return Evidence(
        checks,
        "After 100 steps the gradient is "
        + ", ".join(f"{row['measured']:.4g} (ρ = {row['ρ']})" for row in rows)
        + " times its start; the largest relative error is "
        f"{max(abs(row['measured'] / row['ρ^T'] - 1) for row in rows):.0e}.",
        rows,
        curves("steps back in time",
               "gradient norm, relative", lines, theory, log_y=True),
    )  # fmt: skip
