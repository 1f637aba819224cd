"""The LAB-CNN: a plain stack of convolutions on small digits, trained for 200 steps and judged.

A `Recipe` says everything that the article and its critics would change; `train` follows one with
one seed and returns the outcome. The claims count outcomes over seeds.
"""

import math
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from multiprocessing import get_context
from typing import Any

import numpy as np

import minidl as md

CLASSES = 10
BATCH, STEPS, CHECK_EVERY, ENOUGH = 64, 200, 20, 0.90
DEAD_BAND = 0.05  # nats around ln 10 within which a loss has learned nothing
DEAD_STEPS = 10  # this many steps without any gradient in the convolutions, and none will come
OUTCOMES = ("trained", "stuck", "dead", "diverged")


@dataclass(frozen=True)
class Recipe:
    """One way to train the LAB-CNN. The defaults are the healthy one.

    init: the name of an initializer, or σ of N(0, σ²). images: "standardised", "unit" ([0, 1])
    or "raw" (0..255). body: "plain", "batch_norm", "weight_norm" (with length g, None for the
    length that the weights have) or "residual" (each stride-1 layer x + branch·conv(relu(x))).
    clip: None, or "norm" or "adaptive" with the limit. schedule: "constant", "decay" (halved
    every 50 steps) or "warmup" (linear over 50 steps). optimizer: "sgd", "adam" or "lars".
    """

    depth: int = 8
    width: int = 16
    init: str | float = "he_normal"
    rate: float = 0.1
    images: str = "standardised"
    body: str = "plain"
    g: float | None = None
    branch: float = 1.0
    clip: tuple[str, float] | None = None
    schedule: str = "constant"
    optimizer: str = "sgd"

    def but(self, **changes: Any) -> "Recipe":
        """This recipe with some fields changed."""
        return replace(self, **changes)


HEALTHY = Recipe()
A = Recipe(init=0.3)  # weights too large for their fan-in
B = Recipe(rate=1.0)  # good weights, rate too high
A_PLUS = Recipe(init=1.0)
C = Recipe(init="uniform")  # U(0, 1): every weight positive


@dataclass(frozen=True)
class Run:
    """What came of one recipe with one seed.

    outcome: "trained" (test accuracy reached 0.90 within 200 steps; the run ends there), "dead"
    (the loss stays at ln 10), "diverged" (NaN or Inf), or "stuck" (none of them). steps: how many
    were begun; for a diverged run the one that met the NaN. losses: of each step's batch.
    """

    outcome: str
    accuracy: float
    steps: int
    losses: tuple[float, ...]


@lru_cache
def images(kind: str = "standardised") -> tuple[md.data.Dataset, md.data.Dataset]:
    """(train, test): 1,438 and 359 digits, scaled as a recipe wants them."""
    train, test = md.data.digits().split(0.2, seed=0)
    if kind == "standardised":
        scale: Any = md.data.standardize(train.images)
    else:
        factor = {"unit": 1.0, "raw": 255.0}[kind]

        def scale(x: np.ndarray) -> np.ndarray:
            return x * np.float32(factor)

    return train.map(scale), test.map(scale)


def build(recipe: Recipe, seed: int) -> md.nn.Module:
    """The model of a recipe, its weights drawn with `seed`."""
    md.manual_seed(seed)
    init = recipe.init
    drawn = init if isinstance(init, str) else md.nn.init.normal(std=init)
    model = md.models.deep_plain_cnn(recipe.depth, recipe.width, drawn)
    if recipe.body == "weight_norm":
        for _, layer in model.named_modules():
            if isinstance(layer, md.nn.Conv2d | md.nn.Dense):
                md.nn.weight_norm(layer, recipe.g)
    elif recipe.body == "batch_norm":
        model = md.nn.Sequential(*_each_conv(model, recipe, _normalised))
    elif recipe.body == "residual":
        model = md.nn.Sequential(*_each_conv(model, recipe, _residual))
    return model


def _each_conv(model: Any, recipe: Recipe, change: Any) -> Iterable[md.nn.Module]:
    layers = list(model.layers)
    while layers:
        layer = layers.pop(0)
        if isinstance(layer, md.nn.Conv2d):
            relu = layers.pop(0)
            yield from change(layer, relu, recipe)
        else:
            if recipe.body == "residual" and isinstance(layer, md.nn.Flatten):
                yield md.nn.ReLU()
            yield layer


def _normalised(conv: Any, relu: Any, recipe: Recipe) -> list[md.nn.Module]:
    return [conv, md.nn.BatchNorm2d(recipe.width), relu]


def _residual(conv: Any, relu: Any, recipe: Recipe) -> list[md.nn.Module]:
    if conv.stride == 1 and conv.in_channels == recipe.width:
        return [md.nn.Residual(md.nn.Sequential(relu, conv), scale=recipe.branch)]
    return [conv] if conv.in_channels == 1 else [relu, conv]


def train(recipe: Recipe, seed: int, steps: int = STEPS) -> Run:
    """Train the recipe's model; the order of the images has a seed of its own."""
    train_set, test_set = images(recipe.images)
    model = build(recipe, seed)
    convolutions = [p for p in model.parameters() if p.ndim == 4]
    optimizer = (md.optim.Adam if recipe.optimizer == "adam" else md.optim.SGD)(
        model.parameters(), recipe.rate
    )
    rate_at = _schedule(recipe)
    batches = _endless(train_set, 10_000 + seed)
    losses: list[float] = []
    accuracy, without_gradient = 0.0, 0
    with np.errstate(all="ignore"):
        for step in range(steps):
            x, labels = next(batches)
            loss = md.ops.cross_entropy(model(x), labels)
            losses.append(loss.item())
            if not math.isfinite(losses[-1]):
                return Run("diverged", math.nan, step + 1, tuple(losses))
            optimizer.zero_grad()
            loss.backward()
            try:
                _limit(recipe, model)
            except md.errors.GradientError:  # a clip that was fed NaN or Inf
                return Run("diverged", math.nan, step + 1, tuple(losses))
            optimizer.lr = rate_at(step)
            optimizer.step()
            alive = any(p.grad is not None and p.grad.data.any() for p in convolutions)
            without_gradient = 0 if alive else without_gradient + 1
            if without_gradient == DEAD_STEPS:
                break
            if (step + 1) % CHECK_EVERY == 0 or step + 1 == steps:
                accuracy = evaluate(model, test_set)
                if accuracy >= ENOUGH:
                    return Run("trained", accuracy, step + 1, tuple(losses))
    if not all(np.isfinite(p.data).all() for p in model.parameters()):
        return Run("diverged", math.nan, len(losses), tuple(losses))
    late = float(np.mean(losses[-DEAD_STEPS:]))
    dead = without_gradient == DEAD_STEPS or abs(late - math.log(CLASSES)) < DEAD_BAND
    accuracy = evaluate(model, test_set)
    return Run("dead" if dead else "stuck", accuracy, len(losses), tuple(losses))


def evaluate(model: md.nn.Module, data: md.data.Dataset) -> float:
    """The share of images that the model names rightly."""
    model.eval()
    with md.no_grad():
        logits = model(data.images).numpy()
    model.train()
    return float((logits.argmax(1) == data.labels).mean())


def first_batch(recipe: Recipe, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The images and labels of the first step."""
    return next(_endless(images(recipe.images)[0], 10_000 + seed))


def gradient_norm(recipe: Recipe, seed: int) -> float:
    """The norm of the gradient by all kernels of the convolutions, before the first step."""
    model = build(recipe, seed)
    x, labels = first_batch(recipe, seed)
    with np.errstate(all="ignore"):
        md.ops.cross_entropy(model(x), labels).backward()
    kernels = [p.grad.data for p in model.parameters() if p.ndim == 4 and p.grad is not None]
    return math.hypot(*(float(np.linalg.norm(k.astype(np.float64))) for k in kernels))


def signals(recipe: Recipe, seed: int) -> tuple[list[float], list[float]]:
    """Before the first step: the root mean square of each convolution's output, and of the
    gradient that comes back to it.
    """
    model = build(recipe, seed)
    outputs: list[Any] = []
    probes: list[Any] = []

    def tap(layer: Any, output: Any) -> Any:
        outputs.append(output)
        probes.append(md.tensor(np.zeros(output.shape), requires_grad=True))
        return output + probes[-1]  # adds nothing, and receives the gradient

    for _, layer in model.named_modules():
        if isinstance(layer, md.nn.Conv2d):
            layer.hooks.append(tap)
    x, labels = first_batch(recipe, seed)
    with np.errstate(all="ignore"):
        md.ops.cross_entropy(model(x), labels).backward()
    return [_scale(z.data) for z in outputs], [_scale(p.grad.data) for p in probes]


def _scale(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


def _endless(data: md.data.Dataset, seed: int) -> Any:
    loader = md.data.DataLoader(data, BATCH, shuffle=True, seed=seed, drop_last=True)
    while True:
        yield from loader


def _schedule(recipe: Recipe) -> Any:
    rate = recipe.rate
    if recipe.schedule == "decay":
        return md.optim.step_decay(rate, 50, 0.5)
    if recipe.schedule == "warmup":
        return md.optim.warmup(md.optim.constant(rate), 50)
    return md.optim.constant(rate)


def _limit(recipe: Recipe, model: Any) -> None:
    """What happens to the gradients between the backward pass and the step."""
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


_known: dict[tuple[Recipe, int], Run] = {}


def runs(recipes: Sequence[Recipe], seeds: Iterable[int]) -> list[list[Run]]:
    """For each recipe its runs, one per seed; what was run before is not run again.

    Missing runs share the machine's cores, each in a process of its own.
    """
    chosen = list(seeds)
    missing = [(r, s) for r in dict.fromkeys(recipes) for s in chosen if (r, s) not in _known]
    missing.sort(key=lambda pair: -pair[0].depth * pair[0].width)  # the longest first
    workers = min(os.cpu_count() or 1, len(missing) // 3)
    if workers > 1:
        # A spawned process reads the variable; BLAS threads of its own would only get in the way.
        before = os.environ.get("OPENBLAS_NUM_THREADS")
        os.environ["OPENBLAS_NUM_THREADS"] = "1"
        try:
            with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
                _known.update(
                    zip(missing, pool.map(train, *zip(*missing, strict=True)), strict=True)
                )
        finally:
            os.environ.pop("OPENBLAS_NUM_THREADS")
            if before is not None:
                os.environ["OPENBLAS_NUM_THREADS"] = before
    else:
        _known.update({(r, s): train(r, s) for r, s in missing})
    return [[_known[r, s] for s in chosen] for r in recipes]


def counts(found: Sequence[Run]) -> dict[str, int]:
    """How many runs had each outcome."""
    number = Counter(run.outcome for run in found)
    return {outcome: number[outcome] for outcome in OUTCOMES}
