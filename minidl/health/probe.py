"""Stage 1: a forward and a backward pass, with the size of each layer's signal and gradient noted.

The size of an array is its root mean square (RMS), √(mean x²), everywhere in this folder. Messages
call it the scale.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any, Optional

import numpy as np

from .. import nn
from ..device import to_host
from ..nn import Module
from ..norms import rms
from ..tensor import Tensor, as_tensor

ACTIVATIONS = (nn.ReLU, nn.LeakyReLU, nn.ELU, nn.SELU, nn.GELU, nn.Tanh, nn.Sigmoid)
NORMS = (nn.BatchNorm2d, nn.LayerNorm)
# Layers for which f(c·x) = c·f(x), c > 0: their output grows in proportion to their input.
HOMOGENEOUS = (
    *(nn.ReLU, nn.LeakyReLU, nn.Flatten, nn.Dropout),
    *(nn.MaxPool2d, nn.AvgPool2d, nn.GlobalAvgPool2d),
)

# True while the doctor runs a model, so that a monitor on it does not take this for training.
examining: ContextVar[bool] = ContextVar("examining", default=False)


@dataclass
class LayerCall:
    """One call of a layer that has no sub-layers.

    source: the call whose output was this one's input. None where the input is the network's own,
    or where the network computed it between its layers.
    in_rms, out_rms: root mean squares of input and output. gradient_rms: the root mean square of
    the loss's gradient by the output. dead: the share of an activation's units that are 0 for every
    image of the batch; 0 for other layers.
    """

    name: str
    layer: Module
    source: Optional["LayerCall"]
    in_shape: tuple[int, ...]
    in_rms: float
    out_shape: tuple[int, ...]
    out_rms: float
    gradient_rms: float = 0.0
    dead: float = 0.0

    @property
    def weighted(self) -> bool:
        """Whether the layer multiplies by a matrix or by kernels."""
        return isinstance(self.layer, nn.Dense | nn.Conv2d)

    @property
    def unit_axis(self) -> int:
        """The axis of the output along which its units lie: after a Dense layer the last one."""
        call: LayerCall | None = self
        while call is not None and not call.weighted:
            call = call.source
        dense = call is not None and isinstance(call.layer, nn.Dense)
        return len(self.out_shape) - 1 if dense else 1

    @property
    def scaled_by(self) -> Optional["LayerCall"]:
        """The call that set the size of this one's input: the last one before it that is not
        homogeneous.
        """
        call = self.source
        while call is not None and isinstance(call.layer, HOMOGENEOUS):
            call = call.source
        return call


@contextmanager
def probed(model: Module) -> Iterator[list[LayerCall]]:
    """Context in which each call of a layer without sub-layers is added to a list, in order.

    Layers that do not map a tensor to a tensor are skipped.
    """
    calls: list[LayerCall] = []
    made: dict[Tensor, LayerCall] = {}  # each layer's output, and the call that made it

    def note(name: str, layer: Module, inputs: tuple[Any, ...], y: Any) -> None:
        if not (inputs and hasattr(inputs[0], "dtype") and isinstance(y, Tensor)):
            return
        x = as_tensor(inputs[0])
        call = made[y] = LayerCall(
            name or "model",
            layer,
            source=made.get(x),
            in_shape=tuple(x.shape),
            in_rms=rms(x.data),
            out_shape=tuple(y.shape),
            out_rms=rms(y.data),
        )
        calls.append(call)
        if isinstance(layer, ACTIVATIONS) and y.ndim > 1:
            axes = tuple(axis for axis in range(y.ndim) if axis != call.unit_axis)
            call.dead = float(np.mean((to_host(y.data) == 0).all(axes)))
        if y.requires_grad:
            handles.append(y.register_hook(lambda g: setattr(call, "gradient_rms", rms(g.data))))

    leaves = [(n, m) for n, m in model.named_modules() if not any(m._members(Module))]
    handles = [layer.register_forward_hook(partial(note, name)) for name, layer in leaves]
    try:
        yield calls
    finally:
        while handles:  # a hook that stays would keep the model in memory for a while
            handles.pop().remove()
