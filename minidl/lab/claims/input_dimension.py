"""Do high-dimensional inputs, such as images, make exploding gradients worse?

A unit of the first layer sums n products. With a fixed σ its output grows with √n; He's
σ² = 2/n cancels that. The gradient by the first layer's weights is a product with the whole
image, whose norm is √n, so it grows under both rules:

    ‖dL/dW₁‖ ∝ √n

The later layers do not depend on the number of inputs, so growth from layer to layer is the same.
"""

import math

import numpy as np

import minidl as md

from ..cnn import CLASSES
from ..drawing import curves
from ..judging import promise, seeds
from ..registry import Evidence, claim
from ..sampling import small_digits

SIDES, WIDTH, BATCH = (8, 16, 32, 64), 64, 64
FIXED = math.sqrt(2 / 8**2)  # He's σ for 8×8 pixels, and for layers of 64 units


@claim(
    14,
    title="High-dimensional inputs make exploding gradients worse",
    section="2.2",
    says="Image inputs are high-dimensional, and that makes it worse.",
    source="the article; He et al. 2015",
    setup="ReLU MLPs with 4 hidden layers of 64 units on standardised digits of 8×8 pixels, each "
    "pixel repeated to make 16×16, 32×32 and 64×64; before the first step. He weights, or "
    "N(0, 0.177²) whatever the number of inputs.",
    promises="from 8×8 to 64×64 pixels the loss at the start and the first layer's gradient at "
    "least double, and the gradient grows more from layer to layer",
)
def input_dimension(seed: int, quick: bool) -> Evidence:
    """Loss, first gradient and growth per layer by the number of pixels, for two rules."""
    which = seeds(seed, quick)
    rows = []
    for side in SIDES:
        row: dict[str, float] = {"pixels": side * side}
        for rule, init in (("He", "he_normal"), ("fixed σ", md.nn.init.normal(FIXED))):
            found = np.array([_start(side, init, s) for s in which])
            loss, first, growth = np.exp(np.median(np.log(found), axis=0)).tolist()
            row |= {f"{rule}: loss at start": loss, f"{rule}: ‖dL/dW₁‖": first}
            row |= {f"{rule}: gradient's growth per layer": growth}
        rows.append(row)
    ratio = {what: rows[-1][what] / rows[0][what] for what in rows[0]}
    pixels = [row.pop("pixels") for row in rows]
    what = [name for name in ratio if name != "pixels"]
    checks = [
        promise(f"{name}, 64×64 over 8×8", ratio[name], low=1.1 if "growth" in name else 2.0)
        for name in what
    ]
    loss, first = "loss at start", "‖dL/dW₁‖"
    return Evidence(
        checks,
        f"With 64 times the pixels ‖dL/dW₁‖ grows {ratio[f'He: {first}']:.2g} times with He "
        f"weights (theory: √64 = 8) and {ratio[f'fixed σ: {first}']:.2g} times at a fixed σ; the "
        f"loss at the start {ratio[f'He: {loss}']:.2g} and {ratio[f'fixed σ: {loss}']:.2g} times. "
        "From layer to layer nothing changes. The sum over pixels is at work, not an explosion: "
        "scale the weights by the fan-in, and lower the rate.",
        [{"pixels": int(n)} | row for n, row in zip(pixels, rows, strict=True)],
        curves(
            "pixels",
            "before the first step",
            {name: (pixels, [row[name] for row in rows]) for name in what},
            log_x=True,
            log_y=True,
        ),
    )


def _start(side: int, init: md.nn.init.Initializer, seed: int) -> tuple[float, float, float]:
    """(loss, ‖dL/dW₁‖, the gradient's growth per hidden layer) before the first step."""
    images, labels = small_digits()
    images = (images - images.mean()) / images.std()
    chosen = np.random.default_rng(seed).permutation(len(images))[:BATCH]
    repeat = np.ones((side // 8, side // 8), np.float32)
    x = md.tensor(np.kron(images[chosen].reshape(-1, 8, 8), repeat))
    md.manual_seed(seed)
    model = md.models.mlp(side * side, [WIDTH] * 4, CLASSES, init)
    outputs = []
    for layer in model.layers:
        x = layer(x)
        if isinstance(layer, md.nn.Dense):
            x.retain_grad()
            outputs.append(x)
    loss = md.ops.cross_entropy(x, labels[chosen])
    loss.backward()
    norms = [float(np.linalg.norm(z.grad.numpy())) for z in outputs if z.grad is not None]
    first = model.parameters()[0].grad
    assert first is not None
    return loss.item(), float(np.linalg.norm(first.numpy())), (norms[0] / norms[3]) ** (1 / 3)
