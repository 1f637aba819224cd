"""The numbers that are measured at every step: loss, accuracy and gradient norms."""

import functools
import math
from collections.abc import Iterable, Sequence
from typing import Any

from .. import device
from ..device import Array, read
from ..norms import quick_l2
from ..tensor import Tensor
from .settings import Settings, one_tensor


@functools.cache
def layer_name(parameter: str) -> str:
    """'3.body.0.weight' belongs to the layer '3.body.0'."""
    return parameter.rpartition(".")[0] or parameter


def gradient_norms(named: Iterable[tuple[str, Tensor]]) -> tuple[float, dict[str, float]]:
    """The norm of all gradients together, and that of each layer by name (0 without gradients)."""
    pairs = list(named)
    norms = read([gradient_norm(p) for _, p in pairs])
    return combine([name for name, _ in pairs], norms)


def gradient_norm(parameter: Tensor) -> Any:
    """‖g‖ of one parameter, 0 without a gradient; on a GPU an array there, without waiting."""
    return 0.0 if parameter.grad is None else quick_l2(parameter.grad.data)


def measure(job: Settings, loss: Tensor, outputs: Tensor, targets: Array) -> Array:
    """Loss, accuracy and each parameter's ‖g‖ in one array; on a GPU it stays there, unread.

    Raises: ConfigError where outputs are no Tensor.
    """
    outputs = one_tensor(outputs)
    norms = [gradient_norm(p) for p in job.parameters]
    return device.gather([loss.data, job.score.accuracy(outputs.data, targets), *norms])


def combine(names: Sequence[str], norms: Sequence[float]) -> tuple[float, dict[str, float]]:
    """(norm of all gradients together, {layer: its norm}), from the norms of the parameters."""
    layers: dict[str, list[float]] = {}
    for name, norm in zip(names, norms, strict=True):
        layers.setdefault(layer_name(name), []).append(norm)
    return math.hypot(*norms), {layer: math.hypot(*own) for layer, own in layers.items()}
