"""Cure a network whose signal explodes and whose rate is too high."""

from types import ModuleType
from typing import Any

import numpy as np

import minidl as md

from . import small
from .answers import Wrong, function

SEEDS, STEPS, LOOK_EVERY = 10, 200, 50
ENOUGH, NEEDED = 0.85, 8
SAME = 0.1  # a loss that stays this near ln 10 is that of a network that tells no images apart
LAYERS = 9  # eight hidden ones and the last


def check(answer: ModuleType) -> str:
    """Train ten networks; say which disease those that fail still have."""
    cured = function(answer, "cured")
    failed: list[str] = []
    for seed in range(SEEDS):
        failed += _failure(seed, *_parts(cured(seed)))
        if len(failed) > SEEDS - NEEDED:
            raise Wrong(
                f"{len(failed)} of the first {seed + 1} networks did not learn. {failed[-1]}"
            )
    return f"{SEEDS - len(failed)} of {SEEDS} networks learned the digits."


def _parts(returned: Any) -> tuple[md.nn.Module, Any, float | None]:
    if not isinstance(returned, tuple) or len(returned) != 3:
        raise Wrong("`cured` must return three things: (model, optimizer, clip).")
    model, optimizer, clip = returned
    if not isinstance(model, md.nn.Module):
        raise Wrong(f"The first thing is {type(model).__name__}, but it must be the network.")
    number = isinstance(clip, int | float | np.floating) and clip is not True
    if clip is not None and not (number and clip > 0):
        raise Wrong(f"The third thing, clip, is {clip!r}; it must be a number above 0, or None.")
    if sum(p.ndim >= 2 for p in model.parameters()) < LAYERS:
        raise Wrong("The network must keep its eight hidden layers: a shallow one is no cure.")
    if {id(p) for p in model.parameters()} - {id(p) for p in getattr(optimizer, "params", ())}:
        raise Wrong("The optimizer does not hold the network's parameters.")
    return model, optimizer, clip


def _failure(seed: int, model: md.nn.Module, optimizer: Any, clip: float | None) -> list[str]:
    """Train the network. [a sentence about the disease that it still has]; [] if it learned."""
    losses: list[float] = []
    stream = small.batches(seed)
    for _ in range(0, STEPS, LOOK_EVERY):
        wanted = len(losses) + LOOK_EVERY
        losses += small.train(model, optimizer, stream, LOOK_EVERY, clip)
        if len(losses) < wanted or losses[-1] != losses[-1]:
            break
        if small.accuracy(model) >= ENOUGH:
            return []
    start, highest = losses[0], max(loss for loss in losses if loss == loss)
    if start > 2 * small.LN10:
        return [
            f"Seed {seed}: its loss is {start:.3g} before the first step, far above ln 10 = 2.30. "
            "No step has been made yet, so the signal explodes: the weights are still too large."
        ]
    if losses[-1] != losses[-1] or highest > 5 * small.LN10:
        return [
            f"Seed {seed}: its loss starts at {start:.3g}, near ln 10, and jumps to {highest:.3g}. "
            "So the weights are good now, but the rate is still too high for them."
        ]
    if max(abs(loss - small.LN10) for loss in losses) < SAME:
        return [
            f"Seed {seed}: its loss starts at {start:.4g} = ln 10 and stays there. Nearly nothing "
            "of an image reaches the logits, so the signal vanishes: the weights are too small."
        ]
    return [
        f"Seed {seed}: its loss goes from {start:.3g} to {losses[-1]:.3g}. Nothing explodes, but "
        f"it names only {small.accuracy(model):.0%} of the unseen digits: it learns too slowly, or "
        "its units are dead."
    ]
