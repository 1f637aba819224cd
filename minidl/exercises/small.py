"""Digits of 8×8 pixels and networks that learn them in seconds, for exercises 11 to 13."""

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np

import minidl as md

LN10 = math.log(10)
BATCH = 64


@lru_cache
def digits() -> tuple[md.data.Dataset, md.data.Dataset]:
    """(train, test): 1,438 and 359 digits of 8×8 pixels, standardised."""
    train, test = (
        part.map(lambda x: x[:, :, 3:-2:3, 3:-2:3]) for part in md.data.digits().split(0.2, seed=0)
    )  # md.data.digits enlarges each pixel to 3×3 and adds a border: this takes it back
    standardise = md.data.standardize(train.images)
    return train.map(standardise), test.map(standardise)


def batches(seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Shuffled batches without an end."""
    loader = md.data.DataLoader(digits()[0], BATCH, shuffle=True, seed=seed, drop_last=True)
    while True:
        yield from loader


def accuracy(model: md.nn.Module) -> float:
    """The accuracy on the test digits, which are not trained with."""
    test = digits()[1]
    model.eval()
    with md.no_grad(), np.errstate(all="ignore"):
        logits = model(test.images).numpy()
    model.train()
    return float((logits.argmax(1) == test.labels).mean())


def train(
    model: md.nn.Module,
    optimizer: Any,
    stream: Iterator[tuple[np.ndarray, np.ndarray]],
    steps: int,
    clip: float | None = None,
) -> list[float]:
    """The loss of each step; ends at the first that is not finite."""
    losses: list[float] = []
    with np.errstate(all="ignore"):
        for _ in range(steps):
            images, labels = next(stream)
            loss = md.ops.cross_entropy(model(images), labels)
            losses.append(loss.item())
            if not math.isfinite(losses[-1]):
                break
            optimizer.zero_grad()
            loss.backward()
            if clip is not None:
                try:
                    md.optim.clip_grad_norm(model.parameters(), clip)
                except md.errors.GradientError:  # NaN or Inf in a gradient
                    losses.append(math.nan)
                    break
            optimizer.step()
    return losses
