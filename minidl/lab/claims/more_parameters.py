"""Does the number of parameters decide whether gradients explode?

Depth and width both add parameters, but they act differently: width decides a layer's gain
√(σ²·fan_in/2), and depth is the exponent of the gain. The gradients of networks with equally many
parameters can explode, stay or vanish.
"""

from typing import Any

import numpy as np

from ..cnn import Recipe, build, gradient_norm
from ..drawing import curves
from ..judging import promise, seeds
from ..registry import Evidence, claim


@claim(
    9,
    title="More parameters make exploding gradients worse",
    section="2.2, and 3.1, cause 3",
    says="A growing number of parameters is a cause, and networks for images have many.",
    source="the article",
    setup="LAB-CNN with weights N(0, 0.09²); ‖gradient‖ by the kernels before the first step.",
    promises="equal counts give gradients within a factor of 10, more parameters larger ones",
)
def more_parameters(seed: int, quick: bool) -> Evidence:
    """‖gradient‖ of three networks of equal size, and of two of the same width."""
    rows: list[dict[str, Any]] = []
    for depth, width in ((4, 32), (16, 16), (64, 8), (4, 16), (64, 16)):
        recipe = Recipe(depth=depth, width=width, init=0.09)
        norm = float(np.median([gradient_norm(recipe, s) for s in seeds(seed, quick)]))
        count = sum(p.size for p in build(recipe, seed).parameters())
        rows.append({"L": depth, "C": width, "parameters": count, "‖gradient‖": norm})
    counts = [row["parameters"] for row in rows]
    norms = [row["‖gradient‖"] for row in rows]
    share, change = counts[4] / counts[3], norms[4] / norms[3]
    equal = max(norms[:3]) / min(norms[:3])
    more = f"C = 16, {share:.0f} times the parameters: ‖gradient‖ over that before"
    lines = {
        f"{name}: {which}": ([counts[i] for i in at], [norms[i] for i in at])
        for name, which, at in (
            ("equal counts", "(L, C) = (4, 32), (16, 16), (64, 8)", (0, 1, 2)),
            ("C = 16", "L = 4, 16, 64", (3, 1, 4)),
        )
    }
    return Evidence(
        [
            promise("equal counts: largest ‖gradient‖ over smallest", equal, high=10.0),
            promise(more, change, low=1.0),
        ],
        f"With about {np.mean(counts[:3]):,.0f} parameters each and the same σ, ‖gradient‖ is "
        + ", ".join(f"{norm:.2g}" for norm in norms[:3])
        + f" for L = 4, 16, 64: depth times gain decides, not the count. At C = 16, {share:.0f} "
        f"times the parameters change it by a factor of {change:.2g}.",
        rows,
        curves(
            "parameters",
            "‖gradient‖ before the first step",
            lines,
            log_x=True,
            log_y=True,
        ),
    )
