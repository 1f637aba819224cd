"""Do Xavier's and He's rules for the initial weights keep a network from exploding?

Both scale the weights by the number of inputs, so that a layer keeps the size of its signal:
Xavier σ² = 2/(fan_in + fan_out), He σ² = 2/fan_in, which counts the half that ReLU cuts off. They
cure weights of a bad scale. They cannot cure a rate that is too high for good weights.
"""

from ..judging import SETUP, UNTREATED, Tally, treated
from ..registry import Evidence, claim


@claim(
    6,
    title="Xavier and He initialisation prevent exploding gradients",
    section="3.3, and 4.3",
    says="Initialise the weights by Xavier's or He's rule.",
    source="the article; Glorot and Bengio 2010; He et al. 2015",
    setup=SETUP,
    promises="A and B train once their weights are drawn with either",
)
def xavier_he(seed: int, quick: bool) -> Evidence:
    """Both regimes with either rule; B has He weights to begin with."""
    remedies = treated("Xavier", init="xavier_normal") | treated("He", init="he_normal")
    tally = Tally(UNTREATED | remedies, seed, quick)
    return tally.evidence(
        tally.trains(*remedies),
        f"A: {tally.score('A')}; with Xavier {tally.score('A, Xavier')}, with He "
        f"{tally.score('A, He')}. The cure for a bad scale, and for that alone: at rate 1 (B) "
        f"Xavier gives {tally.score('B, Xavier')} and He, which B has anyway, "
        f"{tally.score('B, He')}.",
    )
