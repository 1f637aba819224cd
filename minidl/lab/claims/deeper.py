"""Do more layers make an explosion less likely?

The gains of the layers multiply: gain^L for L layers. More layers raise the exponent. That changes
nothing for a gain of exactly 1, and makes every other gain worse.
"""

from ..cnn import HEALTHY
from ..judging import SETUP, Tally, promise, treated
from ..registry import Evidence, claim


@claim(
    4,
    title="Deeper networks are less prone to exploding gradients",
    section="3.2, remedy 4",
    says="A deeper network is a remedy, because it reduces the accumulation of weights.",
    source="the article",
    setup=SETUP + " Depths of 3 to 32 with He weights at rate 0.1, and A and B with 32 layers.",
    promises="the deepest network trains at least as often as the shallowest; A and B train when "
    "they are deep",
)
def deeper(seed: int, quick: bool) -> Evidence:
    """Four depths with good weights and a good rate; both regimes at the greatest depth."""
    depths = (3, 24) if quick else (3, 8, 16, 32)
    low, high = f"L = {depths[0]}", f"L = {depths[-1]}"
    healthy = {f"L = {n}": HEALTHY.but(depth=n) for n in depths}
    remedies = treated(high, depth=depths[-1])
    tally = Tally(healthy | remedies, seed, quick)
    beside = f"{high}: trained of {tally.of}, beside {low}"
    worse = tally.trained(high) < tally.trained(low)
    return tally.evidence(
        [promise(beside, tally.trained(high), low=tally.trained(low)), *tally.trains(*remedies)],
        "; ".join(f"{name}: {tally.score(name)}" for name in healthy)
        + f" (the deepest: {tally.lost(high)}). With {depths[-1]} layers A: "
        f"{tally.score(f'A, {high}')}, B: {tally.score(f'B, {high}')}. Depth multiplies whatever "
        "each layer does; it adds trouble and takes none away.",
        opposite=worse,
    )
