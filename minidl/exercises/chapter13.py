"""Find a network that the doctor calls healthy and that diverges all the same."""

import math
from types import ModuleType
from typing import Any

import minidl as md

from . import small
from .answers import Wrong, function

SEEDS, STEPS = range(3), 60
# A training diverged if its loss rose above LOST times the larger of its start and ln 10, and the
# accuracy on unseen digits is below RIGHT.
LOST, RIGHT = 3.0, 0.2


def check(answer: ModuleType) -> str:
    """Ask the doctor, then train: it must miss the divergence with all three seeds."""
    fool = function(answer, "fool")
    train = small.digits()[0]
    for seed in SEEDS:
        returned = fool(train.images.copy(), train.labels.copy(), seed)
        if not isinstance(returned, tuple) or len(returned) != 2:
            raise Wrong("`fool` must return two things: (model, optimizer).")
        _one(seed, *returned)
    return "Fooled, with three seeds of three. You know now what the doctor cannot see."


def _one(seed: int, model: md.nn.Module, optimizer: Any) -> None:
    try:
        report = md.health.doctor(model, next(small.batches(seed)), optimizer)
    except md.errors.MinidlError as error:
        raise Wrong(f"Seed {seed}: the doctor cannot look at it. {error}") from None
    losses = small.train(model, optimizer, small.batches(seed), STEPS)
    accuracy = small.accuracy(model)
    start, end = losses[0], losses[-1]
    finite = all(map(math.isfinite, losses))
    bound = LOST * max(start, small.LN10)
    diverged = not finite or (max(losses) > bound and accuracy < RIGHT)
    warned = report.verdict not in ("healthy", "watch")
    if diverged and not warned:
        return
    said = f'Seed {seed}: the doctor says "{report.verdict}"'
    if diverged:
        first = report.findings[0]
        raise Wrong(f"{said}, and so it is. What gives it away is {first.code!r}: {first.evidence}")
    if report.verdict == "will not learn":
        raise Wrong(
            f"{said}, and nothing diverges: {accuracy:.0%} of the unseen digits are right after "
            f'{STEPS} steps. Find a network that it calls "healthy" or "watch", and that diverges.'
        )
    if warned:
        raise Wrong(
            f"{said}, but nothing diverges: {accuracy:.0%} of the unseen digits are right after "
            f"{STEPS} steps. That is a false alarm; find the other error, a missing warning."
        )
    raise Wrong(
        f"{said}, and it is right: the loss goes from {start:.3g} to {end:.3g}, its largest is "
        f"{max(losses):.3g}, and {accuracy:.0%} of the unseen digits are right."
    )
