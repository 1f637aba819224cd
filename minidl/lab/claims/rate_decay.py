"""Does a learning rate that falls with time keep a network from exploding?

A schedule such as αₜ = α·½^⌊t/50⌋ lowers the rate first after 50 steps. An explosion needs a
handful of steps, so it is over before the rate has changed. A lower rate from the start is another
remedy, and is measured for comparison.
"""

from ..judging import SETUP, UNTREATED, Tally, treated
from ..registry import Evidence, claim


@claim(
    3,
    title="Learning-rate decay prevents exploding gradients",
    section="3.2, remedy 3",
    says="Learning-rate decay is a remedy.",
    source="the article",
    setup=SETUP + " The rate is halved every 50 steps.",
    promises="A and B train with a decaying rate",
)
def rate_decay(seed: int, quick: bool) -> Evidence:
    """Both regimes with a decaying rate, and with a tenth of the rate from the start."""
    remedies = treated("decay", schedule="decay")
    slower = {f"{name}, rate/10": r.but(rate=r.rate / 10) for name, r in UNTREATED.items()}
    tally = Tally(UNTREATED | remedies | slower, seed, quick)
    both = [training for name in remedies for training in tally[name]]
    last = max((t.steps for t in both if t.outcome in ("diverged", "dead")), default=0)
    when = "before the first decay, at step 50" if last <= 50 else f"by step {last}"
    return tally.evidence(
        tally.trains(*remedies),
        f"With decay A: {tally.score('A, decay')}, B: {tally.score('B, decay')}; every lost "
        f"network was lost {when}. A tenth of the rate from the start: A "
        f"{tally.score('A, rate/10')}, B {tally.score('B, rate/10')}. What matters is the rate at "
        "the start.",
    )
