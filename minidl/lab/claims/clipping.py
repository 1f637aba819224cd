"""Does clipping the gradient keep a network from exploding?

Clipping shortens the gradient to a chosen length before the step: g ← g·min(1, limit/‖g‖). So it
bounds the step. It does not touch the forward pass: where the weights make the signal explode, they
do so after the clipping as well.
"""

from ..judging import SETUP, UNTREATED, Tally, treated
from ..registry import Evidence, claim


@claim(
    2,
    title="Gradient clipping prevents exploding gradients",
    section="3.2, remedy 2",
    says="Gradient clipping is a remedy.",
    source="the article; Pascanu, Mikolov and Bengio 2013",
    setup=SETUP + " The gradient's norm is clipped at 1.",
    promises="A and B train with a clipped gradient",
)
def clipping(seed: int, quick: bool) -> Evidence:
    """Both regimes with the gradient's norm clipped at 1."""
    remedies = treated("clipped", clip=("norm", 1.0))
    tally = Tally(UNTREATED | remedies, seed, quick)
    return tally.evidence(
        tally.trains(*remedies),
        f"Where the rate is too high (B): {tally.score('B, clipped')}. Where the signal explodes "
        f"(A) clipping keeps the numbers finite ({tally.lost('A, clipped')}) but "
        f"{tally.score('A, clipped')}: it bounds the step, not the forward pass.",
    )
