"""Weight normalisation: weights as a length and a direction, each of which is trained."""

from typing import Any, TypeVar

from .. import ops
from ..errors import ConfigError, ShapeError
from ..tensor import ArrayLike, Tensor, as_tensor
from .conv import Conv2d
from .dense import Dense
from .module import Module, Parameter

Layer = TypeVar("Layer", bound=Module)


class WeightNorm(Module):
    """A layer after `weight_norm`: whenever its weight is read, it is computed from g and v."""

    weight_g: Parameter
    weight_v: Parameter

    @property
    def weight(self) -> Tensor:
        """w = g·v/‖v‖, the norm taken over each output unit's weights."""
        v = self.weight_v
        return v * (self.weight_g / ops.norm(v, tuple(range(1, v.ndim)), keepdims=True))


class WeightNormDense(WeightNorm, Dense):  # type: ignore[misc]
    """A Dense layer with weight normalisation; `weight_norm` makes it."""


class WeightNormConv2d(WeightNorm, Conv2d):  # type: ignore[misc]
    """A Conv2d layer with weight normalisation; `weight_norm` makes it."""

    fusable = True


def weight_norm(layer: Layer, g: ArrayLike | None = None) -> Layer:
    """Give a Dense or Conv2d the weights w = g·v/‖v‖: a length and a direction per output unit.

    The parameter `weight` is replaced by `weight_g` (out, 1, ...) and `weight_v`, of its own shape.
    Returns the layer.
    g: the lengths to begin with, a number or one for each unit; None keeps the weights as they are.
    Gradient: for each unit, dL/dg = (dL/dw · v)/‖v‖ and dL/dv = g/‖v‖·(dL/dw - dL/dg·v/‖v‖). The
    second is orthogonal to v.
    Raises: ConfigError for other layers, for a second call, and where a unit's weights are 0;
    ShapeError for another number of lengths.
    Source: Salimans, Kingma 2016, eq. 2 and 3.
    """
    kinds: dict[Any, Any] = {Dense: WeightNormDense, Conv2d: WeightNormConv2d}
    kind = kinds.get(type(layer))
    if kind is None:
        raise ConfigError(
            f"weight_norm: expected a Dense or Conv2d without it, got {type(layer).__name__}"
        )
    parts = vars(layer)
    v, trained = parts["weight"].data, parts["weight"].requires_grad
    lengths = ops.norm(v, tuple(range(1, v.ndim)), keepdims=True).data
    if not (lengths > 0).all():
        raise ConfigError("weight_norm: expected weights other than 0, which has no direction")
    if g is not None:
        g = as_tensor(g)
        if g.size not in (1, len(v)):
            raise ShapeError(f"weight_norm: expected 1 or {len(v)} values of g, got {g.shape}")
        lengths[...] = g.data.reshape(-1, *[1] * (v.ndim - 1))
    del parts["weight"]
    layer.__class__ = kind
    parts.update(weight_g=Parameter(lengths, v.dtype), weight_v=Parameter(v, v.dtype))
    layer.weight_g.requires_grad = layer.weight_v.requires_grad = trained  # type: ignore
    return layer
