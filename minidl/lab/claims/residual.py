"""Do residual branches keep a network from exploding?

x + a·conv(relu(x)) lets the gradient pass beside the convolution. With a = 1 each block also adds
its own signal, and the squared norm doubles from block to block: it grows (1 + a²)^L times over L
blocks. With a = 1/√L it grows about e times over all of them.
"""

import math

from ..cnn import HEALTHY
from ..judging import SETUP, Tally, promise, treated
from ..registry import Evidence, claim


@claim(
    12,
    title="Beyond the article: residual branches prevent exploding gradients",
    source="He et al. 2016; Zhang, Dauphin and Ma 2019",
    setup=SETUP + " The last 6 convolutions as x + a·conv(relu(x)).",
    promises="with a = 1 and He weights at rate 0.1 the loss starts no larger and as many train as "
    "without; A and B train",
)
def residual(seed: int, quick: bool) -> Evidence:
    """Healthy weights and both regimes, with full and with scaled branches."""
    scaled = 1 / math.sqrt(HEALTHY.depth - 2)
    healthy = {
        "He, plain": HEALTHY,
        "He, a = 1": HEALTHY.but(body="residual"),
        "He, a = 1/√6": HEALTHY.but(body="residual", branch=scaled),
    }
    remedies = treated("a = 1", body="residual")
    remedies |= treated("a = 1/√6", body="residual", branch=scaled)
    tally = Tally(healthy | remedies, seed, quick)
    plain, one, small = (tally.loss_at_start(name) for name in healthy)
    beside, before = tally.trained("He, a = 1"), tally.trained("He, plain")
    return tally.evidence(
        [
            promise("He: loss at the start, a = 1", one, high=1.1 * plain),
            promise("He, a = 1: trained, beside plain", beside, low=before),
            *tally.trains("He, a = 1/√6", *remedies),
        ],
        f"A full branch adds its own signal: the loss starts at {one:.2g} instead of {plain:.2g}, "
        f"and {tally.score('He, a = 1')} (plain: {tally.score('He, plain')}). Scaled by 1/√6: "
        f"{small:.2g}, {tally.score('He, a = 1/√6')}. On A: {tally.score('A, a = 1')}, scaled "
        f"{tally.score('A, a = 1/√6')}; on B: {tally.score('B, a = 1')}, scaled "
        f"{tally.score('B, a = 1/√6')}.",
    )
