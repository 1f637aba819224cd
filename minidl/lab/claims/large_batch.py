"""Does a batch 16 times as large bear a rate 16 times as high, if the rate rises slowly at first?

Many processes need large batches. The mean gradient of a larger batch is less random, but it is not
smaller, so with the same rate an epoch of few steps moves the weights less. Goyal et al. raise the
rate by the same factor as the batch. They let it rise over the first five epochs, because a fresh
network, they say, does not bear the full rate in its first steps.

Whether a network bears a rate depends on the curvature of its loss, and that does not depend on the
batch. A small rate times 16 may still be fine; a large one is too large at any time, and a warm-up
only delays the end. The doctor judges the full rate before the first step.
"""

from typing import Any

import numpy as np

import minidl as md

from ..cnn import Recipe, build, images
from ..drawing import bars
from ..judging import promise
from ..registry import Evidence, claim
from ..training import ENOUGH, evaluate

SMALL, FACTOR, EPOCHS, WARM_EPOCHS = 45, 16, 20, 5
BODIES = {"plain": "plain", "BatchNorm": "batch_norm"}
RATES = (0.02, 0.05, 0.1)


def accuracy_after(body: str, rate: float, batch: int, warm: int, seed: int) -> tuple[float, str]:
    """(test accuracy after the epochs, the doctor's verdict before the first step)."""
    train, test = images()
    model = build(Recipe(depth=3, width=8, body=body), seed)
    optimizer = md.optim.SGD(model.parameters(), rate)
    loader = md.data.DataLoader(train, batch, shuffle=True, seed=10_000 + seed, drop_last=True)
    schedule = md.optim.constant(rate)
    if warm:
        schedule = md.optim.warmup(schedule, warm * len(loader))
    verdict = md.health.doctor(model, next(iter(loader)), optimizer).verdict
    step = 0
    with np.errstate(all="ignore"):
        for _ in range(EPOCHS):
            for x, labels in loader:
                optimizer.zero_grad()
                md.ops.cross_entropy(model(x), labels).backward()
                optimizer.lr = schedule(step)
                optimizer.step()
                step += 1
        return evaluate(model, test), verdict


@claim(
    15,
    title="Beyond the article: large batches need a warm-up",
    source="Goyal et al. 2017, sections 2.1 and 2.2",
    setup="LAB-CNN with 3 convolutions of 8 channels, plain or with BatchNorm, SGD, 20 epochs: "
    "batch 45 at rates of 0.02, 0.05 and 0.1; batch 720 at 16 times these rates, at once or after "
    "5 epochs in which the rate rises.",
    promises="what trains with the small batch trains with the large one after a warm-up, and not "
    "without; the doctor says so before the first step",
)
def large_batch(seed: int, quick: bool) -> Evidence:
    """Networks that train with the small batch, with the large one, and with a warm-up."""
    chosen = range(100 * seed, 100 * seed + (2 if quick else 5))
    rows: list[dict[str, Any]] = []
    foreseen: dict[bool, list[bool]] = {True: [], False: []}  # by whether the network trained
    for body, rate in ((b, r) for b in BODIES for r in (RATES[1:2] if quick else RATES)):
        small, at_once, slowly = (
            [accuracy_after(BODIES[body], f * rate, f * SMALL, warm, s) for s in chosen]
            for f, warm in ((1, 0), (FACTOR, 0), (FACTOR, WARM_EPOCHS))
        )
        for reached, verdict in at_once:
            foreseen[reached >= ENOUGH].append(verdict == "will diverge")
        trained = [sum(a >= ENOUGH for a, _ in found) for found in (small, at_once, slowly)]
        names = ("batch 45", "batch 720", "batch 720, warm-up")
        diverge = sum(v == "will diverge" for _, v in at_once)
        rows.append({"body": body, "rate": rate} | dict(zip(names, trained, strict=True)))
        rows[-1]["doctor: will diverge"] = diverge
    of = len(chosen) * len(rows)
    totals = {n: sum(row[n] for row in rows) for n in ("batch 45", "batch 720")}
    warmed = sum(row["batch 720, warm-up"] for row in rows)
    seen, alarms = (float(np.mean(foreseen[k])) if foreseen[k] else 0.0 for k in (False, True))
    lost = totals["batch 45"] - totals["batch 720"]
    checks = [
        promise("trained with batch 720 at once, of those with batch 45",
                totals["batch 720"] / max(totals["batch 45"], 1), high=0.5),
        promise("trained with batch 720 after a warm-up, of those with batch 45",
                warmed / max(totals["batch 45"], 1), low=0.8),
        promise("'will diverge' of those that did not train at once", seen, low=0.8),
        promise("'will diverge' of those that trained at once", alarms, high=0.2),
    ]  # fmt: skip
    conclusion = (
        f"Of {of} networks {totals['batch 45']} train with batches of 45. With 16 times the batch "
        f"and 16 times the rate, {totals['batch 720']} do; after a warm-up, {warmed}. So the "
        f"warm-up brings back {max(0, warmed - totals['batch 720'])} of the {lost} that were lost. "
        f"Before the first step the doctor says 'will diverge' of {seen:.0%} of those that then do "
        f"not train, and of {alarms:.0%} of those that do."
    )
    heights = {
        f"{row['body']}, {FACTOR * row['rate']:g}, {how}": row[name] / len(chosen)
        for row in rows
        for how, name in (("at once", "batch 720"), ("slowly", "batch 720, warm-up"))
    }
    return Evidence(checks, conclusion, rows, bars("share of networks that train", heights))
