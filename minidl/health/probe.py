"""One forward and one backward pass, with every layer's signal and gradient measured."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import nn
from ..device import Array, to_host
from ..nn import Module
from ..tensor import Tensor, as_tensor, record

ACTIVATIONS = (nn.ReLU, nn.LeakyReLU, nn.ELU, nn.SELU, nn.GELU, nn.Tanh, nn.Sigmoid)
HOMOGENEOUS = (
    *(nn.ReLU, nn.LeakyReLU, nn.Flatten, nn.Dropout),
    *(nn.MaxPool2d, nn.AvgPool2d, nn.GlobalAvgPool2d),
)
NORMS = (nn.BatchNorm2d, nn.LayerNorm)


@dataclass
class Passage:
    """One layer in the order of the calls; scales are root mean squares.

    after: the layer whose output it got, as it was. dead: share of its units that are 0 for the
    whole batch (after an activation). x: the input of a weighted layer.
    """

    name: str
    layer: Module
    after: "Passage | None" = None
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

    @property
    def units(self) -> int:
        """The axis of the output along which its units lie: a Dense layer's the last one."""
        maker: Passage | None = self
        while maker is not None and not maker.weighted:
            maker = maker.after
        dense = maker is not None and isinstance(maker.layer, nn.Dense)
        return len(self.out_shape) - 1 if dense else 1

    @property
    def maker(self) -> "Passage | None":
        """The layer whose scale its input has, past those that hand every factor on."""
        maker = self.after
        while maker is not None and isinstance(maker.layer, HOMOGENEOUS):
            maker = maker.after
        return maker


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
    """Context in which each call of a layer without sub-layers is measured, in order.

    What does not make a tensor of one is not measured.
    """
    passages: list[Passage] = []
    made: dict[int, tuple[Passage, Tensor]] = {}  # with the tensor, so that its id stays its own
    leaves = [(n, m) for n, m in model.named_modules() if not any(m._members(Module))]
    own = {name: vars(layer)["forward"] for name, layer in leaves if "forward" in vars(layer)}

    def wrap(name: str, layer: Module) -> None:
        forward = layer.forward

        def measured(*inputs: Any, **options: Any) -> Any:
            if not (inputs and hasattr(inputs[0], "dtype")):
                return forward(*inputs, **options)
            x, *rest = as_tensor(inputs[0]), *inputs[1:]
            source, _ = made.get(id(x), (None, None))
            passage = Passage(name or "model", layer, source, tuple(x.shape), scale(x.data))
            place = len(passages)
            if passage.weighted:
                passage.x = x.detach()
            if x.requires_grad:
                x = _noted(x, lambda g: setattr(passage, "in_gradient_scale", scale(g)))
            y = forward(x, *rest, **options)
            if not isinstance(y, Tensor):
                return y
            passages.insert(place, passage)
            passage.out_shape, passage.out_scale = tuple(y.shape), scale(y.data)
            if isinstance(layer, ACTIVATIONS) and y.ndim > 1:
                axes = tuple(axis for axis in range(y.ndim) if axis != passage.units)
                passage.dead = float(np.mean((to_host(y.data) == 0).all(axes)))
            y = _noted(y, lambda g: setattr(passage, "gradient_scale", scale(g)))
            made[id(y)] = passage, y
            return y

        vars(layer)["forward"] = measured

    for name, layer in leaves:
        wrap(name, layer)
    try:
        yield passages
    finally:
        for name, layer in leaves:
            vars(layer).pop("forward", None)
            if name in own:
                vars(layer)["forward"] = own[name]
