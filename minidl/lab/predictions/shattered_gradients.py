"""How alike are the gradients of two inputs, deep in a network?

A unit passes both gradients where it is on for both inputs. After BatchNorm that is a quarter of
the units; each gradient alone passes half of them. So the likeness halves in every layer:

    cosine of the two gradients = 2^(-L)

Deep enough, each image pulls the weights in a direction of its own, as white noise would.
"""

import numpy as np

from .. import sampling
from ..drawing import curves
from ..formulas import both_on
from ..registry import Evidence, prediction


@prediction(
    8,
    title="Gradients of two inputs lose their likeness with depth",
    source="Balduzzi et al. 2017, theorem 1",
    setup="plain BatchNorm + ReLU networks, width 512, batch 128, float64; the same output "
    "direction for every input, signs alternating so that BatchNorm does not cancel it.",
    predicts="the cosine between the gradients of two inputs is 2^(-L)",
)
def shattered_gradients(seed: int, quick: bool) -> Evidence:
    """The mean cosine over all pairs of inputs, layer by layer."""
    rng = sampling.stream(seed, 8)
    n, batch, depth, nets = (256, 64, 6, 20) if quick else (512, 128, 8, 24)
    signs = np.where(np.arange(batch) % 2, 1.0, -1.0)[:, None]
    cosines = np.zeros((nets, depth + 1))
    for i in range(nets):
        layers = [sampling.batch_norm_layer(rng, n) for _ in range(depth)]
        u = signs * sampling.gaussian(rng, 1, n)
        _, gradients = sampling.through(layers, sampling.gaussian(rng, batch, n), u)
        cosines[i] = [_mean_cosine(signs * g) for g in gradients[::-1]]
    checks, rows = [], []
    for passed in range(1, depth + 1):
        exact = 0.5**passed
        # In a batch of B a pair is on together 2·both_on = ½ - 1/πB of the time, and BatchNorm
        # mixes gradients by 1/B: together below 4/B of the value per layer. Two signals of the
        # batch are never alike, so a pair of gradients that shares nothing has cosine -1/B.
        allowance = 4 / batch * passed * exact + 1 / batch
        samples = cosines[:, passed]
        if passed <= 4:  # further back the cosine is smaller than its own spread
            what = f"cosine after {passed} layers"
            checks.append(sampling.mean_check(what, exact, samples, allowance))
        rows.append({"layers": passed, "2^-L": exact, "measured": float(samples.mean())})
    rows[0]["pairs on together"] = 2 * both_on(batch)
    passed_layers = list(range(depth + 1))
    return Evidence(
        checks,
        "The mean cosine of the gradients of two inputs is "
        + ", ".join(f"{row['measured']:.3f}" for row in rows[:5])
        + " after 1 to 5 layers: it halves in each.",
        rows,
        curves(
            "layers passed backwards",
            "mean cosine of two inputs' gradients",
            {"measured": (passed_layers, cosines.mean(0).tolist())},
            {"2^-L": (passed_layers, [0.5**i for i in passed_layers])},
            log_y=True,
        ),
    )


def _mean_cosine(g: np.ndarray) -> float:
    """Σ⟨g_i, g_j⟩ over pairs of rows over the same with ‖g‖² in place of the products."""
    squares = float((g * g).sum())
    pairs = float((g.sum(0) ** 2).sum()) - squares
    return pairs / (squares * (len(g) - 1))
