"""Does normalising the weights keep a network from exploding?

Weight normalisation writes a weight as w = g·v/‖v‖: a length g times a direction. It fixes nothing
unless g is chosen well. With g = √2, the length that a row of He weights has, every layer starts
with gain 1. With g = ‖v‖ the network is the one it was before.
"""

import math

from ..judging import SETUP, UNTREATED, Tally, treated
from ..registry import Evidence, claim


@claim(
    1,
    title="Weight normalisation prevents exploding gradients",
    section="3.2, remedy 1",
    says="Weight normalisation, which keeps the weights within a range, is a remedy.",
    source="the article; Salimans and Kingma 2016",
    setup=SETUP,
    promises="A and B train once every weight is g·v/‖v‖, whatever g",
)
def weight_normalisation(seed: int, quick: bool) -> Evidence:
    """Both regimes with the length of He weights, and with the length that the weights have."""
    remedies = treated("g = √2", body="weight_norm", g=math.sqrt(2))
    remedies |= treated("g = ‖v‖", body="weight_norm")
    tally = Tally(UNTREATED | remedies, seed, quick)
    return tally.evidence(
        tally.trains(*remedies),
        f"A: {tally.score('A, g = √2')} with g = √2, but {tally.score('A, g = ‖v‖')} with the "
        "length the weights had. A row of He weights has length √2 as well: the scale is the cure, "
        f"not the reparametrisation. B, a rate too high: {tally.score('B, g = √2')} and "
        f"{tally.score('B, g = ‖v‖')}.",
    )
