"""Do more channels make an explosion less likely?

With weights scaled by their fan-in, ln ‖gradient‖ varies between seeds with a variance of about

    5β,   β = Σ 1/n over the layers

so that width makes networks more alike. It does not change the mean. With a fixed σ the gain
√(σ²·fan_in/2) of every layer grows with the width, so width makes explosions worse.
"""

import math

import numpy as np

from ..cnn import Recipe, gradient_norm
from ..drawing import curves
from ..judging import SETUP, Tally, promise, seeds, treated
from ..registry import Evidence, claim

WIDTHS = (4, 16, 64)


@claim(
    5,
    title="Wider networks are less prone to exploding gradients",
    section="3.2, remedy 5",
    says="A wider network is a remedy, because it reduces the dependence between parameters.",
    source="the article; Hanin and Rolnick 2018",
    setup=SETUP + " A and B with 64 channels. The spread is the standard deviation over seeds of "
    "ln ‖gradient‖ before the first step; fixed weights are N(0, 0.12²) at every width.",
    promises="with width the spread falls, the fixed-σ gradient does not grow, A and B train",
)
def wider(seed: int, quick: bool) -> Evidence:
    """The gradient before the first step at three widths; both regimes at the greatest width."""
    which = seeds(seed, quick)
    many = range(which.start, which.start + (12 if quick else 40))
    spread, fixed = [], []
    for width in WIDTHS:
        logs = [math.log(gradient_norm(Recipe(width=width), s)) for s in many]
        spread.append(float(np.std(logs, ddof=1)))
        same = [gradient_norm(Recipe(width=width, init=0.12), s) for s in which]
        fixed.append(float(np.median(same)))
    remedies = treated("C = 64", width=64)
    tally = Tally(remedies, seed, quick)
    ends = "C = 64 over C = 4"
    lines = {
        "He: spread of ln ‖gradient‖ over seeds": (list(WIDTHS), spread),
        "σ = 0.12: median ‖gradient‖": (list(WIDTHS), fixed),
    }
    return tally.evidence(
        [
            promise(f"He: spread of ln ‖gradient‖, {ends}", spread[-1] / spread[0], high=0.8),
            promise(f"σ = 0.12: ‖gradient‖, {ends}", fixed[-1] / fixed[0], high=1.0),
            *tally.trains(*remedies),
        ],
        f"With He weights the spread of ln ‖gradient‖ over {len(many)} seeds goes {spread[0]:.2f} "
        f"→ {spread[-1]:.2f} from C = 4 to 64. At a fixed σ width makes it worse: ‖gradient‖ goes "
        f"{fixed[0]:.2g} → {fixed[-1]:.2g}. A: {tally.score('A, C = 64')}, B: "
        f"{tally.score('B, C = 64')} at C = 64.",
        rows=[
            {"setup": f"C = {c}", "He: spread of ln ‖g‖": s, "σ = 0.12: ‖g‖": f}
            for c, s, f in zip(WIDTHS, spread, fixed, strict=True)
        ],
        series=curves(
            "channels C",
            "before the first step",
            lines,
            log_x=True,
            log_y=True,
        ),
    )
