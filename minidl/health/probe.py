"""One forward and one backward pass, with every layer's signal and gradient measured."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import nn
from ..backend import Array, to_host
from ..graph import record
from ..nn import Module
from ..tensor import Tensor

ACTIVATIONS = (nn.ReLU, nn.LeakyReLU, nn.ELU, nn.SELU, nn.GELU, nn.Tanh, nn.Sigmoid)


@dataclass
class Passage:
    """One layer in the order of the calls; scales are root mean squares.

    dead: share of its units that are 0 for the whole batch (after an activation). x: the input of
    a weighted layer.
    """

    name: str
    layer: Module
    in_shape: tuple[int, ...] = ()
    in_scale: float = 0.0
    out_shape: tuple[int, ...] = ()
    out_scale: float = 0.0
    gradient_scale: float = 0.0
    in_gradient_scale: float = float("nan")
    dead: float = 0.0
    x: Tensor | None = None

    @property
    def weighted(self) -> bool:
        """Whether the layer multiplies by a matrix or kernels."""
        return isinstance(self.layer, nn.Dense | nn.Conv2d)


def scale(array: Array) -> float:
    """√(mean x²), in float64 so that no square overflows; inf or nan where x is not finite."""
    values = to_host(array).astype(np.float64, copy=False)
    if not values.size:
        return 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        largest = float(np.abs(values).max())
        if largest == 0 or not np.isfinite(largest):
            return largest
        return largest * float(np.sqrt(np.square(values / largest).mean()))


def _noted(x: Tensor, note: Any) -> Tensor:
    """x itself, with `note` called on the gradient that passes it."""

    def look(g: Tensor, y: Tensor) -> Tensor:
        note(g.data)
        return g

    return record(x.data, (x, look))


@contextmanager
def probed(model: Module) -> Iterator[list[Passage]]:
    """Context in which each call of a layer without sub-layers is measured, in order."""
    passages: list[Passage] = []
    leaves = [(n, m) for n, m in model.named_modules() if not any(m._members(Module))]

    def wrap(name: str, layer: Module) -> None:
        forward = layer.forward

        def measured(x: Any, *rest: Any) -> Any:
            passage = Passage(name, layer, tuple(x.shape), scale(x.data))
            passages.append(passage)
            if passage.weighted:
                passage.x = x.detach()
            if x.requires_grad:
                x = _noted(x, lambda g: setattr(passage, "in_gradient_scale", scale(g)))
            y = forward(x, *rest)
            passage.out_shape, passage.out_scale = tuple(y.shape), scale(y.data)
            if isinstance(layer, ACTIVATIONS) and y.ndim > 1:
                axes = (0, *range(2, y.ndim))
                passage.dead = float(np.mean((to_host(y.data) == 0).all(axes)))
            return _noted(y, lambda g: setattr(passage, "gradient_scale", scale(g)))

        vars(layer)["forward"] = measured

    for name, layer in leaves:
        wrap(name, layer)
    try:
        yield passages
    finally:
        for _, layer in leaves:
            vars(layer).pop("forward", None)
