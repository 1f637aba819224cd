"""Trains the LAB-CNN by a recipe, and says how the training ended."""

import math
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

import numpy as np

import minidl as md

from .cnn import CLASSES, Recipe, build, images, recipe_batches

STEPS, CHECK_EVERY = 200, 20  # steps of a training; steps between two tests
ENOUGH = 0.90  # test accuracy
DEAD_BAND = 0.05  # nats: a loss this near to ln 10, that of a guess, has learned nothing
DEAD_STEPS = 10  # after this many steps without any gradient in the convolutions, none will come
OUTCOMES = ("trained", "stuck", "dead", "diverged")


@dataclass(frozen=True)
class Training:
    """How one recipe ended with one seed.

    outcome: "trained" (test accuracy reached 0.90 within 200 steps; the training ends there),
    "dead" (the loss stays at ln 10, or the convolutions get no gradient for 10 steps), "diverged"
    (NaN or Inf), or "stuck" (none of them). accuracy: on the test images; NaN where it diverged.
    steps: how many were begun; where it diverged, the step that met the NaN. losses: of each batch.
    """

    outcome: str
    accuracy: float
    steps: int
    losses: tuple[float, ...]


def train(recipe: Recipe, seed: int, steps: int = STEPS) -> Training:
    """Train the recipe's model; the order of the images has a seed of its own."""
    test_set = images(recipe.images, recipe.scale)[1]
    model = build(recipe, seed)
    convolutions = [p for p in model.parameters() if p.ndim == 4]
    optimizer = (md.optim.Adam if recipe.optimizer == "adam" else md.optim.SGD)(
        model.parameters(), recipe.rate
    )
    rate_at = _schedule(recipe)
    batch = recipe_batches(recipe, seed)
    losses: list[float] = []
    accuracy, without_gradient = 0.0, 0

    def ended(outcome: str, accuracy: float = math.nan) -> Training:
        return Training(outcome, accuracy, len(losses), tuple(losses))

    with np.errstate(all="ignore"):
        for step in range(steps):
            x, labels = next(batch)
            loss = md.ops.cross_entropy(model(x), labels)
            losses.append(loss.item())
            if not math.isfinite(losses[-1]):
                return ended("diverged")
            optimizer.zero_grad()
            loss.backward()
            try:
                _limit(recipe, model)
            except md.errors.GradientError:  # the gradient to clip is not finite
                return ended("diverged")
            optimizer.lr = rate_at(step)
            optimizer.step()
            alive = any(p.grad is not None and p.grad.data.any() for p in convolutions)
            without_gradient = 0 if alive else without_gradient + 1
            if without_gradient == DEAD_STEPS:
                break
            if (step + 1) % CHECK_EVERY == 0 or step + 1 == steps:
                accuracy = evaluate(model, test_set)
                if accuracy >= ENOUGH:
                    return ended("trained", accuracy)
    if not all(np.isfinite(p.data).all() for p in model.parameters()):
        return ended("diverged")
    late = float(np.mean(losses[-DEAD_STEPS:]))
    dead = without_gradient == DEAD_STEPS or abs(late - math.log(CLASSES)) < DEAD_BAND
    return ended("dead" if dead else "stuck", evaluate(model, test_set))


def evaluate(model: md.nn.Module, data: md.data.Dataset) -> float:
    """The accuracy: the share of images whose class the model names."""
    model.eval()
    with md.no_grad():
        logits = model(data.images).numpy()
    model.train()
    return float((logits.argmax(1) == data.labels).mean())


def _schedule(recipe: Recipe) -> Any:
    rate = recipe.rate
    if recipe.schedule == "decay":
        return md.optim.step_decay(rate, 50, 0.5)
    if recipe.schedule == "warmup":
        return md.optim.warmup(md.optim.constant(rate), 50)
    return md.optim.constant(rate)


def _limit(recipe: Recipe, model: Any) -> None:
    """Clip or rescale the gradients in place, as the recipe says, before the step."""
    if recipe.clip is not None:
        kind, limit = recipe.clip
        if kind == "norm":
            md.optim.clip_grad_norm(model.parameters(), limit)
        else:  # the head is left out, as its authors found best (Brock et al. 2021)
            md.optim.clip_grad_adaptive(model.parameters()[:-2], limit)
    if recipe.optimizer == "lars":  # You et al. 2017: each layer's step is a share of its weights
        for p in model.parameters():
            size, slope = (np.linalg.norm(v.astype(np.float64)) for v in (p.data, p.grad.data))
            if size > 0 and slope > 0:
                p.grad.data *= np.float32(0.1 * size / slope)


_known: dict[tuple[Recipe, int], Training] = {}


def trainings(recipes: Sequence[Recipe], seeds: Iterable[int]) -> list[list[Training]]:
    """For each recipe its trainings, one per seed.

    A training that this process has seen before is not made again. The others share the machine's
    cores: as many processes take them in turn.
    """
    chosen = list(seeds)
    missing = [(r, s) for r in dict.fromkeys(recipes) for s in chosen if (r, s) not in _known]
    missing.sort(key=lambda pair: -pair[0].depth * pair[0].width)  # the longest first
    workers = min(os.cpu_count() or 1, len(missing) // 3)
    if workers > 1:
        # A spawned process reads the variable. With a process per core, threads of BLAS in each
        # would only wait for each other.
        before = os.environ.get("OPENBLAS_NUM_THREADS")
        os.environ["OPENBLAS_NUM_THREADS"] = "1"
        try:
            with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
                found = list(pool.map(train, *zip(*missing, strict=True)))
        finally:
            os.environ.pop("OPENBLAS_NUM_THREADS")
            if before is not None:
                os.environ["OPENBLAS_NUM_THREADS"] = before
    else:
        found = [train(recipe, seed) for recipe, seed in missing]
    _known.update(zip(missing, found, strict=True))
    return [[_known[r, s] for s in chosen] for r in recipes]
