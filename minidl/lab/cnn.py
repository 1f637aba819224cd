"""The LAB-CNN: a plain stack of convolutions on small digits, and its signals before training.

A `Recipe` holds every setting that a cause or a remedy of explosions changes. `training.py` follows
a recipe with one seed and says how the training ended.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

import minidl as md

from ..norms import rms

CLASSES, BATCH = 10, 64


@dataclass(frozen=True)
class Recipe:
    """One way to train the LAB-CNN. The defaults are the healthy one.

    depth: number of convolutions. width: their channels. init: the name of an initializer, or σ of
    N(0, σ²). rate: the learning rate.
    images: "standardised", "unit" ([0, 1]) or "raw" (0..255), times `scale`.
    body: "plain"; "batch_norm"; "weight_norm", with weights of length g, where None keeps the
    length that they were drawn with; or "residual", where each convolution of stride 1 becomes
    x + branch·conv(relu(x)).
    clip: None, or ("norm", limit) or ("adaptive", limit). schedule: "constant", "decay" (halved
    every 50 steps) or "warmup" (linear over 50 steps). optimizer: "sgd", "adam" or "lars".
    """

    depth: int = 8
    width: int = 16
    init: str | float = "he_normal"
    rate: float = 0.1
    images: str = "standardised"
    scale: float = 1.0
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
A = Recipe(init=0.3)  # weights too large for their fan-in: the signal explodes
B = Recipe(rate=1.0)  # good weights, but a rate too high
A_PLUS = Recipe(init=1.0)  # as A, with weights larger still
C = Recipe(init="uniform")  # U(0, 1): every weight is positive


@lru_cache
def images(
    kind: str = "standardised", scale: float = 1.0
) -> tuple[md.data.Dataset, md.data.Dataset]:
    """(train, test): 1,438 and 359 digits. kind, scale: as `images` and `scale` of a Recipe."""
    train, test = md.data.digits().split(0.2, seed=0)
    standardise = md.data.standardize(train.images)
    factor = np.float32(255 * scale if kind == "raw" else scale)

    def prepare(x: np.ndarray) -> np.ndarray:
        return (standardise(x) if kind == "standardised" else x) * factor

    return train.map(prepare), test.map(prepare)


def batches(data: md.data.Dataset, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Shuffled batches of 64 images and their labels, epoch after epoch without an end."""
    loader = md.data.DataLoader(data, BATCH, shuffle=True, seed=seed, drop_last=True)
    while True:
        yield from loader


def recipe_batches(recipe: Recipe, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The batches of a recipe; their order has a seed of its own, apart from the weights'."""
    return batches(images(recipe.images, recipe.scale)[0], 10_000 + seed)


def first_batch(recipe: Recipe, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The images and labels of the first step."""
    return next(recipe_batches(recipe, seed))


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
        model = md.nn.Sequential(*_normalised(model.layers, recipe.width))
    elif recipe.body == "residual":
        model = md.nn.Sequential(*_residual(model.layers, recipe))
    return model


def _normalised(layers: Any, width: int) -> Iterator[md.nn.Module]:
    """BatchNorm after every convolution."""
    for layer in layers:
        yield layer
        if isinstance(layer, md.nn.Conv2d):
            yield md.nn.BatchNorm2d(width)


def _residual(layers: Any, recipe: Recipe) -> Iterator[md.nn.Module]:
    """Each ReLU moves in front of the next convolution, and into its branch where it has one."""
    for layer in layers:
        if isinstance(layer, md.nn.ReLU):
            relu = layer
        elif not isinstance(layer, md.nn.Conv2d):
            yield from (relu, layer) if isinstance(layer, md.nn.Flatten) else (layer,)
        elif layer.in_channels == 1:
            yield layer
        elif layer.stride == 1 and layer.in_channels == recipe.width:
            yield md.nn.Residual(md.nn.Sequential(relu, layer), scale=recipe.branch)
        else:
            yield from (relu, layer)


def gradient_norm(recipe: Recipe, seed: int) -> float:
    """The norm of the gradient by all kernels of the convolutions, before the first step."""
    model = build(recipe, seed)
    x, labels = first_batch(recipe, seed)
    with np.errstate(all="ignore"):
        md.ops.cross_entropy(model(x), labels).backward()
    return kernel_norm(model)


def kernel_norm(model: md.nn.Module) -> float:
    """‖gradient‖ by the kernels of the convolutions; float64 keeps its squares finite."""
    kernels = [p.grad.data for p in model.parameters() if p.ndim == 4 and p.grad is not None]
    return math.hypot(*(float(np.linalg.norm(k.astype(np.float64))) for k in kernels))


def signals(recipe: Recipe, seed: int) -> tuple[list[float], list[float]]:
    """(outputs, gradients) before the first step: the root mean square of each convolution's
    output, and of the loss's gradient by that output, from the first convolution to the last.
    """
    model = build(recipe, seed)
    outputs: list[float] = []
    gradients: list[float] = []

    def watch(layer: md.nn.Module, inputs: tuple[Any, ...], output: md.Tensor) -> None:
        outputs.append(rms(output.data))
        output.register_hook(lambda g: gradients.append(rms(g.data)))

    for _, layer in model.named_modules():
        if isinstance(layer, md.nn.Conv2d):
            layer.register_forward_hook(watch)
    x, labels = first_batch(recipe, seed)
    with np.errstate(all="ignore"):
        md.ops.cross_entropy(model(x), labels).backward()
    return outputs, gradients[::-1]  # the gradient comes to the last convolution first
