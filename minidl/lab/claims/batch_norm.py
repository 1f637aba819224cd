"""Does BatchNorm keep a network from exploding?

BatchNorm divides each channel by its standard deviation. So the scale of the weights no longer
matters, and regime A trains. BatchNorm does not lower the rate (B). And it makes the gradient grow:
at initialisation √(π/(π-1)) = 1.211 times per layer in wide layers.
"""

import math

import numpy as np

from ..cnn import Recipe, signals
from ..judging import SETUP, UNTREATED, Tally, promise, seeds, treated
from ..registry import Evidence, claim


@claim(
    10,
    title="Beyond the article: BatchNorm prevents exploding gradients",
    source="Ioffe and Szegedy 2015; Yang et al. 2019",
    setup=SETUP + " BatchNorm after every convolution. Growth: 12 layers of 32 channels.",
    promises="A and B train, and the gradient does not grow from layer to layer",
)
def batch_norm(seed: int, quick: bool) -> Evidence:
    """Both regimes with BatchNorm, and the gradient's growth per layer with He weights."""
    remedies = treated("BatchNorm", body="batch_norm")
    tally = Tally(UNTREATED | remedies, seed, quick)
    growth = {}
    for name, body in (("plain", "plain"), ("BatchNorm", "batch_norm")):
        deep = Recipe(depth=12, width=32, body=body)
        logs = [np.log(signals(deep, s)[1]) for s in seeds(seed, quick)]
        first, last = np.median(logs, axis=0)[[1, -1]]
        growth[name] = math.exp((first - last) / (deep.depth - 2))
    what = "BatchNorm: gradient's growth per layer"
    return tally.evidence(
        [*tally.trains(*remedies), promise(what, growth["BatchNorm"], high=1.05)],
        f"A: {tally.score('A, BatchNorm')}, the scale of the weights no longer matters. B: "
        f"{tally.score('B, BatchNorm')} ({tally.lost('B, BatchNorm')}). It makes the gradient grow "
        f"{growth['BatchNorm']:.3f} times per layer (plain He layers: {growth['plain']:.3f}; "
        "theory without borders: √(π/(π−1)) = 1.211).",
        rows=[
            {"setup": f"He, {name}", "gradient's growth per layer": value}
            for name, value in growth.items()
        ],
    )
