"""How alike are the gradients of two inputs, deep in a network?

A unit passes both gradients where it is on for both inputs. After BatchNorm that is a quarter of
the units; each gradient alone passes half of them. So the cosine halves in every layer:

    cosine of the two gradients = 2^(-L)

In a deep network the gradients of two images have nothing in common, like two samples of white
noise.
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
        # In a batch of B images, a unit that is on for one is on for another with the probability
        # 2·both_on, about ½ - 1/πB, and BatchNorm mixes the gradients by 1/B. Together this changes
        # the cosine by less than its share 4/B per layer. BatchNorm gives the signals of a pair the
        # correlation -1/(B-1), so gradients that share nothing have a cosine of about -1/B.
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
    """The mean of ⟨g_i, g_j⟩ over pairs of rows i ≠ j, divided by the mean of ‖g_i‖²."""
    squares = float((g * g).sum())
    pairs = float((g.sum(0) ** 2).sum()) - squares
    return pairs / (squares * (len(g) - 1))
