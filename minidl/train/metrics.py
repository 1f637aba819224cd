"""The numbers that are read at every step: accuracy, and gradient norms that cannot overflow."""

import functools
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from .. import device
from ..device import Array, read
from ..nn import Parameter

# Outside these bounds float32 squares may have overflowed, or vanished below the smallest float.
_LEAST, _MOST = 1e-24, 1e36


def accuracy(logits: Array, labels: Array) -> Any:
    """The share of rows of logits (N, K) whose largest entry is at the label, labels (N,)."""
    return (logits.argmax(1) == labels).sum() / len(labels)


def squared_norm(array: Array) -> Any:
    """Σ x², in float64 (on a GPU still on the device).

    Numerics: on the CPU, BLAS multiplies float32 as it is; where a square may not fit into
    float32 (elements beyond 1e18 or below 1e-12), all of it is done again in float64. NumPy may
    warn of the overflow: the caller silences it.
    """
    flat = array.ravel(order="K")  # as it lies in memory: no copy
    if device.is_host(flat):
        total = float(np.dot(flat, flat))
        if _LEAST < total < _MOST:
            return total
    wide = flat.astype(np.float64)
    return (wide * wide).sum()


@functools.cache
def layer_name(parameter: str) -> str:
    """'3.body.0.weight' belongs to the layer '3.body.0'."""
    return parameter.rpartition(".")[0] or parameter


def gradient_norms(named: Iterable[tuple[str, Parameter]]) -> tuple[float, dict[str, float]]:
    """The norm of all gradients together, and that of each layer by name (0 without gradients)."""
    pairs = list(named)
    with np.errstate(over="ignore", invalid="ignore"):
        squares = read([gradient_square(p) for _, p in pairs])
    return combine([name for name, _ in pairs], squares)


def gradient_square(parameter: Parameter) -> Any:
    """Σ g² of one parameter, 0 without a gradient."""
    return 0.0 if parameter.grad is None else squared_norm(parameter.grad.data)


def combine(names: Sequence[str], squares: Sequence[float]) -> tuple[float, dict[str, float]]:
    """(√Σ of all, √Σ of each layer), from the squared norms of the parameters by name."""
    layers: dict[str, float] = {}
    for name, square in zip(names, squares, strict=True):
        layer = layer_name(name)
        layers[layer] = layers.get(layer, 0.0) + square
    return math.sqrt(sum(squares)), {layer: math.sqrt(square) for layer, square in layers.items()}
