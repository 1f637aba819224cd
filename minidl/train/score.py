"""Accuracy and probabilities, for targets that are classes; targets may be numbers instead."""

import functools
import math
from typing import Any

import numpy as np

from ..device import Array
from ..ops import (
    binary_cross_entropy,
    cross_entropy,
    huber_loss,
    l1_loss,
    mse_loss,
    sigmoid,
    softmax,
)

_OF_CLASSES = (cross_entropy, binary_cross_entropy)
_DISTANCES = (mse_loss, l1_loss, huber_loss)


def accuracy(outputs: Array, targets: Array) -> Any:
    """The share of targets that the outputs get right.

    Shapes: logits (N, K), or any shape with the K classes on axis 1 or on the last axis; targets
    hold the class, in the same shape without that axis. Where there is one logit for each target,
    targets are 0 or 1, and a logit above 0 means 1.
    """
    if outputs.size == targets.size:
        return ((outputs.reshape(targets.shape) > 0) == (targets > 0.5)).mean()
    return (outputs.argmax(_class_axis(outputs.shape, targets.shape)) == targets).mean()


def _class_axis(outputs: tuple[int, ...], targets: tuple[int, ...]) -> int | None:
    """The outputs' axis of classes, which targets lack: 1 or -1 (the last); None if none fits."""
    if outputs[:1] + outputs[2:] == targets:
        return 1
    return -1 if outputs[:-1] == targets else None


class Score:
    """Computes accuracy and probabilities; decides whether targets are classes or numbers.

    Targets are classes if they are of an integer type. Floats are classes if they are all 0 or 1,
    with one for each input; for binary_cross_entropy, with any number. If the loss measures a
    distance (mse_loss, l1_loss, huber_loss) targets are numbers, and have no accuracy.
    knows: whether this is decided. It is not if the loss is another function, and no targets have
    been seen. of_training: whether the targets are those of a training; they decide for all others.
    """

    def __init__(
        self, loss: Any, targets: np.ndarray | None = None, of_training: bool = False
    ) -> None:
        while isinstance(loss, functools.partial):  # such as a cross_entropy with its options
            loss = loss.func
        self._loss, self._axis = loss, 1
        self.of_training = of_training
        self.knows = targets is not None or loss in (*_OF_CLASSES, *_DISTANCES)
        self._binary = targets is None or bool(np.isin(targets, (0, 1)).all())
        self._classes = loss not in _DISTANCES
        if targets is not None and targets.dtype.kind not in "iub":
            one_each = targets.size == len(targets) or loss is binary_cross_entropy
            self._classes &= self._binary and one_each

    def accuracy(self, outputs: Array, targets: Array) -> Any:
        """The accuracy; NaN where the targets are no classes."""
        axis = _class_axis(outputs.shape, targets.shape)
        single = outputs.size == targets.size
        if not (self._binary if single else axis is not None):
            self._classes = False
        elif axis is not None:
            self._axis = axis
        return accuracy(outputs, targets) if self._classes else math.nan

    @property
    def of_classes(self) -> bool:
        """Whether targets are classes."""
        return self._classes

    def counts_rows(self, outputs: Array, targets: Array) -> bool:
        """Whether the accuracy is that of logits (N, K) and classes (N,), and of nothing else."""
        plain = outputs.ndim == 2 and outputs.shape[1] > 1 and targets.shape == outputs.shape[:1]
        return self._classes and plain and targets.dtype == np.int64

    def probabilities(self, outputs: np.ndarray) -> Any:
        """Softmax over the classes; the sigmoid of a single logit; numbers stay as they are."""
        if self._loss is binary_cross_entropy:
            return sigmoid(outputs).numpy()
        if not self._classes:
            return outputs
        single = outputs.size == len(outputs)
        return (sigmoid(outputs) if single else softmax(outputs, self._axis)).numpy()
