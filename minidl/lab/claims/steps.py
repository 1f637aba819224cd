"""Do smaller or smarter steps keep a network from exploding?

Adam makes every step the same size, warm-up starts with small ones, LARS makes a layer's step a
share of its weights: all three shape the step and leave the forward pass as it is. Adaptive
clipping does too: it bounds each unit's gradient, ‖g‖ ≤ 0.01·‖w‖. But it leaves the last layer out,
whose steps are not bounded.
"""

from ..cnn import A, B
from ..judging import SETUP, Tally, treated
from ..registry import Evidence, claim


@claim(
    11,
    title="Beyond the article: smaller or smarter steps prevent exploding gradients",
    source="Brock et al. 2021; Kingma and Ba 2015; Goyal et al. 2017; You et al. 2017",
    setup=SETUP + " Adaptive clipping at 0.01·‖w‖ per unit, the head left out; Adam at a tenth of "
    "the rate; warm-up over 50 steps; LARS with trust 0.1.",
    promises="A and B train with each of them",
)
def steps(seed: int, quick: bool) -> Evidence:
    """Both regimes with adaptive clipping, Adam, warm-up and LARS."""
    remedies = treated("adaptive clip", clip=("adaptive", 0.01))
    remedies |= {"A, Adam": A.but(optimizer="adam", rate=A.rate / 10)}
    remedies |= {"B, Adam": B.but(optimizer="adam", rate=B.rate / 10)}
    remedies |= treated("warm-up", schedule="warmup") | treated("LARS", optimizer="lars")
    tally = Tally(remedies, seed, quick)

    def scores(regime: str) -> str:
        return ", ".join(tally.score(f"{regime}, {n}") for n in ("Adam", "warm-up", "LARS"))

    return tally.evidence(
        tally.trains(*remedies),
        f"Adaptive clipping: A {tally.score('A, adaptive clip')}, B "
        f"{tally.score('B, adaptive clip')}. Adam, warm-up and LARS on A: {scores('A')}; on B: "
        f"{scores('B')}. What bounds or rescales the step leaves the forward pass as it is.",
    )
