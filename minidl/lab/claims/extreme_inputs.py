"""Do gradients explode when the inputs are near zero, or near infinity?

A ReLU network without biases is homogeneous in its input: s times the image gives s times every
signal, and s times the gradient by every weight,

    dL/dW ∝ s    (for small s, and again for large s, where softmax has saturated)

So inputs near zero make the gradient vanish. Large inputs make it large from the start, in every
layer by the same factor, and the largest stable rate falls as 1/s. But the gradient does not grow
more from layer to layer: the factor of a layer does not depend on s.
"""

import math

import numpy as np

from ..cnn import CLASSES, HEALTHY, Recipe, gradient_norm, signals
from ..drawing import curves
from ..judging import promise, seeds
from ..registry import Evidence, claim
from ..training import train

STEPS = 30
EXPONENTS = range(-14, 5)  # of √10: rates from 1e-7 to 100


@claim(
    13,
    title="Gradients explode when inputs are near zero or infinity",
    section="2.1, and 3.1, cause 2",
    says="A gradient explodes when inputs are near zero or infinity; approximating "
    "high-dimensional input values is a cause.",
    source="the article; LeCun et al. 1998",
    setup="LAB-CNN, 8 convolutions of 16 channels, He weights; standardised images times 1e-6 to "
    "1e6. ‖gradient‖ by the kernels and its growth per layer are those before the first step. The "
    "largest stable rate is the largest power of √10 at which 30 steps of SGD neither meet NaN, "
    "nor leave every ReLU off, nor triple the loss.",
    promises="at either end the gradient is at least 10 times that of inputs of scale 1, it grows "
    "more from layer to layer, and a tenth of the rate is too much",
)
def extreme_inputs(seed: int, quick: bool) -> Evidence:
    """Gradient, growth per layer and largest stable rate by the scale of the input."""
    which = seeds(seed, quick)
    scales = [10.0**k for k in range(-6, 7, 6 if quick else 2)]
    loss, gradient, growth, rate = [], [], [], []
    for scale in scales:
        recipe = HEALTHY.but(scale=scale)
        gradient.append(float(np.median([gradient_norm(recipe, s) for s in which])))
        logs = np.median([np.log(signals(recipe, s)[1]) for s in which], axis=0)
        growth.append(math.exp((logs[1] - logs[-1]) / (recipe.depth - 2)))
        found = [_largest_stable_rate(recipe, s) for s in which[:3]]
        rate.append(float(np.median([largest for largest, _ in found])))
        loss.append(float(np.median([start for _, start in found])))
    one = scales.index(1.0)
    checks = []
    for end, name in ((0, "inputs × 1e-6"), (-1, "inputs × 1e6")):
        checks += [
            promise(f"{name}: ‖gradient‖ over that at 1", gradient[end] / gradient[one], low=10.0),
            promise(f"{name}: growth per layer over that at 1", growth[end] / growth[one], low=1.1),
            promise(f"{name}: largest stable rate over that at 1", rate[end] / rate[one], high=0.1),
        ]
    return Evidence(
        checks,
        f"Near zero nothing explodes: ‖gradient‖ is {gradient[0]:.2g} (at scale 1: "
        f"{gradient[one]:.2g}) and the largest stable rate stays ({rate[0]:.2g} and "
        f"{rate[one]:.2g}). At 1e6 ‖gradient‖ is {gradient[-1]:.2g} from the start, and the rate "
        f"must be {rate[-1]:.2g}. From layer to layer the gradient grows {growth[0]:.3f}, "
        f"{growth[one]:.3f} and {growth[-1]:.3f} times: the "
        "input's scale multiplies all layers alike.",
        [
            {"inputs times": f"{scales[i]:g}", "loss at start": loss[i], "‖gradient‖": gradient[i],
             "gradient's growth per layer": growth[i], "largest stable rate": rate[i]}
            for i in range(len(scales))
        ],
        curves(
            "standardised images times",
            "",
            {"loss at start": (scales, loss), "‖gradient‖": (scales, gradient),
             "gradient's growth per layer": (scales, growth),
             "largest stable rate": (scales, rate)},
            log_x=True,
            log_y=True,
        ),
    )  # fmt: skip


def _largest_stable_rate(recipe: Recipe, seed: int) -> tuple[float, float]:
    """(the rate by bisection over powers of √10, the loss at the start)."""
    low, high = EXPONENTS.start - 1, EXPONENTS.stop
    while high - low > 1:
        middle = (low + high) // 2
        found = train(recipe.but(rate=10 ** (middle / 2)), seed, STEPS)
        rose = max(found.losses) > 3 * max(found.losses[0], math.log(CLASSES))
        off = found.outcome == "dead" and found.steps < STEPS
        if found.outcome == "diverged" or rose or off:
            high = middle
        else:
            low = middle
    return 10 ** (low / 2), found.losses[0]
