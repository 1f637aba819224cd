"""Does normalising the images keep a network from exploding?

The gradient by the first layer's weights is a product with the input, so it grows with the input's
scale, and the largest stable rate falls (see extreme_inputs.py). Pixels of 0..255 are a third cause
of failure, beside those of A and B, and normalising the images cures it. A and B fail on normalised
images too: in A the weights are at fault, in B the rate.
"""

from ..cnn import HEALTHY
from ..judging import SETUP, Tally, treated
from ..registry import Evidence, claim


@claim(
    7,
    title="Input normalisation prevents exploding gradients",
    section="3.3, and 4.1",
    says="Preprocess the images: normalise or standardise them.",
    source="the article; LeCun et al. 1998",
    setup=SETUP + " Raw pixels: 0..255, He weights, rate 0.01.",
    promises="raw pixels, A and B train once the images are in [0, 1] or standardised",
)
def input_normalisation(seed: int, quick: bool) -> Evidence:
    """Raw pixels without and with the remedy, and both regimes with it."""
    slow = HEALTHY.but(rate=0.01)
    remedies = {"raw, [0, 1]": slow.but(images="unit"), "raw, standardised": slow}
    remedies |= treated("[0, 1]", images="unit")
    remedies |= treated("standardised", images="standardised")
    tally = Tally({"raw": slow.but(images="raw")} | remedies, seed, quick)
    return tally.evidence(
        tally.trains(*remedies),
        f"Pixels of 0..255 at rate 0.01: {tally.score('raw')} ({tally.lost('raw')}). The same in "
        f"[0, 1]: {tally.score('raw, [0, 1]')}; standardised: {tally.score('raw, standardised')}. "
        f"A, [0, 1] and standardised: {tally.score('A, [0, 1]')}, {tally.score('A, standardised')};"
        f" B: {tally.score('B, [0, 1]')}, {tally.score('B, standardised')}. It cures what the "
        "input's scale does, not bad weights nor a rate too high.",
    )
