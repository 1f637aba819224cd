"""The network to look at: the lab's, built from the settings, or a user's own model."""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np

from .. import rng
from ..device import Array
from ..lab import cnn
from ..nn import Conv2d, Dense, Module, ReLU, Sequential
from ..nn.weight_norm import WeightNorm
from ..ops import cross_entropy
from .settings import ACTIVATIONS, CONTROLS, OF_ANY_MODEL, OPTIMIZERS, Control, Settings

Batch = tuple[Array, Array]  # images and labels


@dataclass
class Network:
    """A model ready for its first step, with its optimizer, loss and batches.

    batches: endless. first: the first of them, on which the views show the network. clip: the
    largest norm of the gradient, or None. test: images and labels for the accuracy at the end, or
    None. seed: of the numbers that dropout draws.
    """

    model: Module
    optimizer: Any
    clip: float | None
    loss: Callable[[Any, Any], Any]
    batches: Iterator[Batch]
    first: Batch = field(init=False)
    test: Batch | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        self.first = next(self.batches)

    def same_numbers(self) -> AbstractContextManager[None]:
        """Context in which dropout draws the same numbers each time."""
        return rng.using(np.random.default_rng(self.seed))


class Subject(Protocol):
    """Makes the networks that the page shows. kind: "lab" or "given". controls: of the page."""

    kind: ClassVar[str]
    controls: ClassVar[tuple[Control, ...]]

    @property
    def title(self) -> str:
        """Its name, as the page shows it."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the labels."""
        ...

    def network(self, settings: Settings) -> Network:
        """The network built with these settings; for the same settings the same one."""
        ...


@dataclass
class LabNetwork:
    """The lab's stack of convolutions on digits. own: an image with its label to look at first."""

    own: Batch | None = None
    kind: ClassVar[str] = "lab"
    controls: ClassVar[tuple[Control, ...]] = CONTROLS
    title = "LAB-CNN"
    classes = tuple(map(str, range(cnn.CLASSES)))

    def network(self, settings: Settings) -> Network:
        recipe = cnn.Recipe(settings["depth"], settings["width"], body=settings["body"])
        with rng.using(np.random.default_rng(0)):  # `build` seeds this thread's own numbers
            model = cnn.build(recipe, settings["seed"])
        scale_weights(model, settings["scale"])
        _activate(model, ACTIVATIONS[settings["activation"]])
        test = cnn.images()[1]
        inputs = np.float32(settings["inputs"])
        batches = _with_own(cnn.recipe_batches(recipe, settings["seed"]), self.own)
        return _ready(model, settings, cross_entropy, batches, (test.images * inputs, test.labels))


@dataclass
class GivenModel:
    """A user's model with its own images. It is copied to the CPU, so that it stays as it is.

    batches: a function from a seed to endless batches. own: an image with its label to look at
    first. test: images and labels for the accuracy at the end.
    """

    model: Module
    batches: Callable[[int], Iterator[Batch]]
    classes: tuple[str, ...]
    title: str
    loss: Callable[[Any, Any], Any] = cross_entropy
    own: Batch | None = None
    test: Batch | None = None
    kind: ClassVar[str] = "given"
    controls: ClassVar[tuple[Control, ...]] = tuple(c for c in CONTROLS if c.name in OF_ANY_MODEL)

    def network(self, settings: Settings) -> Network:
        model = copy.deepcopy(self.model).to("cpu").train()
        scale_weights(model, settings["scale"])
        test = self.test
        if test is not None:
            test = test[0] * np.float32(settings["inputs"]), test[1]
        batches = _with_own(self.batches(settings["seed"]), self.own)
        return _ready(model, settings, self.loss, batches, test)


def _ready(
    model: Module,
    settings: Settings,
    loss: Callable[[Any, Any], Any],
    batches: Iterator[Batch],
    test: Batch | None,
) -> Network:
    optimizer = OPTIMIZERS[settings["optimizer"]](model.parameters(), settings["rate"])
    scaled = ((x * x.dtype.type(settings["inputs"]), labels) for x, labels in batches)
    return Network(
        model, optimizer, settings["clip"], loss, scaled, test=test, seed=settings["seed"]
    )


def _with_own(batches: Iterator[Batch], own: Batch | None) -> Iterator[Batch]:
    """The batches; the image `own` replaces the first image of the first batch."""
    for number, (images, labels) in enumerate(batches):
        if own is not None and number == 0:
            images = np.concatenate([own[0].astype(images.dtype), images[1:]])
            labels = np.concatenate([own[1].astype(labels.dtype), labels[1:]])
        yield images, labels


def scale_weights(model: Module, factor: float) -> None:
    """Multiply the weights of every convolution and Dense layer, not their biases."""
    for _, layer in model.named_modules():
        if isinstance(layer, Conv2d | Dense):
            weight = layer.weight_g if isinstance(layer, WeightNorm) else layer.weight
            weight.data = weight.data * weight.dtype.type(factor)


def _activate(model: Module, kind: type[Module]) -> None:
    """Put another activation in the place of every ReLU."""
    for _, module in model.named_modules():
        if isinstance(module, Sequential) and kind is not ReLU:
            module.layers = [kind() if type(m) is ReLU else m for m in module.layers]


def same_batch(images: Array, labels: Array) -> Callable[[int], Iterator[Batch]]:
    """One batch, again and again, whatever the seed."""

    def batches(seed: int) -> Iterator[Batch]:
        while True:
            yield images, labels

    return batches


def class_names(classes: Sequence[str] | None, labels: Array) -> tuple[str, ...]:
    """The names of the classes; numbers where none are given."""
    if classes is not None:
        return tuple(map(str, classes))
    labels = np.asarray(labels)
    return tuple(map(str, range(int(labels.max()) + 1))) if labels.dtype.kind in "iu" else ()
