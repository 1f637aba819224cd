"""Layers that are linear in their weights, and the normalisation of weights."""

from typing import Any

import numpy as np

from .. import kernels, ops
from ..checks import check
from ..errors import ConfigError, ShapeError
from ..modes import running
from ..tensor import ArrayLike, Tensor, as_tensor
from .init import Initializer, draw
from .module import Module, Parameter


class Dense(Module):
    """y = x·Wᵀ + b; dL/dW = gᵀ·x, dL/db = Σ g, dL/dx = g·W.

    Shapes: x (..., in) -> (..., out); weight (out, in); bias (out,), which starts at 0.
    init: of the weight, see `nn.init`.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        init: Initializer = "he_normal",
    ) -> None:
        check("Dense", "an int >= 1", in_features=in_features, out_features=out_features)
        self.in_features, self.out_features = in_features, out_features
        self.weight = Parameter(draw("Dense", init, (out_features, in_features)))
        self.bias = Parameter(np.zeros(out_features)) if bias else None

    def forward(self, x: ArrayLike) -> Tensor:
        x = as_tensor(x)
        if x.shape[-1:] != (self.in_features,):
            raise ShapeError(
                f"Dense: expected x with {self.in_features} features on its last axis, got "
                f"{x.shape}; put Flatten() before it if x are images, or change in_features"
            )
        return ops.linear(x, self.weight, self.bias)


class Conv2d(Module):
    """Cross-correlation of images with trained kernels, see `ops.conv2d`.

    Shapes: x (N, in, H, W) -> (N, out, OH, OW); weight (out, in/groups, kh, kw); bias (out,).
    kernel_size, stride, dilation: ints or pairs; padding also "same" or "valid".
    """

    transposed = False
    op: Any = staticmethod(ops.conv2d)
    options: tuple[str, ...] = ("stride", "padding", "dilation", "groups")

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        *,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        init: Initializer = "he_normal",
    ) -> None:
        call, sizes = type(self).__name__, (in_channels, out_channels)
        check(call, "an int >= 1", in_channels=sizes[0], out_channels=sizes[1], groups=groups)
        if in_channels % groups or out_channels % groups:
            raise ConfigError(f"{call}: expected groups to divide {sizes}, got {groups}")
        # Checks the numbers: an image this large fits every window.
        window = kernels.window(call, (1 << 20, 1 << 20), kernel_size, stride, padding, dilation)
        self.in_channels, self.out_channels, self.kernel_size = *sizes, window.size
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups
        weight = draw(call, init, (out_channels, in_channels // groups, *window.size))
        if self.transposed:  # within each group, outputs and inputs change places
            weight = np.reshape(weight, (groups, -1, *np.shape(weight)[1:])).swapaxes(1, 2)
            weight = weight.reshape(in_channels, -1, *window.size)
        self.weight = Parameter(weight)
        self.bias = Parameter(np.zeros(out_channels)) if bias else None

    def forward(self, x: ArrayLike) -> Tensor:
        return self.op(x, self.weight, self.bias, **self._options())

    def _options(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.options}

    def pooled(self, x: ArrayLike, pool: Any, rectify: bool) -> Tensor | None:
        """pool(self(x)) of a MaxPool2d, and relu of it, by one kernel; None where there is none.

        A hook sees only what its own `pooled(module, x, output, rectify)` is given.
        """
        sizes = {"size": pool.size, "stride": pool.stride, "padding": pool.padding}
        with running(self):
            y = ops.window.conv_pool(x, self.weight, self.bias, self._options(), sizes, rectify)
        for hook in self.hooks if y is not None else ():
            changed = hook.pooled(self, x, y, rectify)  # type: ignore[attr-defined]
            y = y if changed is None else changed
        return y


class ConvTranspose2d(Conv2d):
    """The transpose of `Conv2d`, which enlarges images, see `ops.conv_transpose2d`.

    Shapes: x (N, in, H, W) -> (N, out, OH, OW); weight (in, out/groups, kh, kw); bias (out,).
    """

    transposed = True
    op = staticmethod(ops.conv_transpose2d)
    options = (*Conv2d.options, "output_padding")

    def __init__(self, *args: Any, output_padding: Any = 0, **options: Any) -> None:
        super().__init__(*args, **options)
        self.output_padding = output_padding


class _WeightNorm(Module):
    weight_g: Parameter
    weight_v: Parameter

    @property
    def weight(self) -> Tensor:
        v = self.weight_v
        return v * (self.weight_g / ops.norm(v, tuple(range(1, v.ndim)), keepdims=True))


def weight_norm(layer: Any, g: ArrayLike = None) -> Any:
    """Give a Dense or Conv2d the weights w = g·v/‖v‖: a length and a direction per output unit.

    The parameter `weight` becomes `weight_g` (out, 1, ...) and `weight_v`; returns the layer.
    g: the lengths to begin with, a number or one per unit; None keeps the weights as they are.
    Gradient: dL/dg = dL/dw·v/‖v‖; dL/dv is orthogonal to v. Source: Salimans, Kingma 2016, eq. 2.
    Raises: ConfigError for other layers, for a second call, and where a unit's weights are 0.
    """
    cls = type(layer)
    if cls not in (Dense, Conv2d):
        raise ConfigError(f"weight_norm: expected a Dense or Conv2d without it, got {cls.__name__}")
    v = layer.weight.data
    lengths = ops.norm(v, tuple(range(1, v.ndim)), keepdims=True).data
    if not (lengths > 0).all():
        raise ConfigError("weight_norm: expected weights other than 0, which has no direction")
    if g is not None:
        g = as_tensor(g)
        if g.size not in (1, len(v)):
            raise ShapeError(f"weight_norm: expected 1 or {len(v)} values of g, got {g.shape}")
        lengths[...] = g.data.reshape(-1, *[1] * (v.ndim - 1))
    del layer.weight
    layer.weight_g, layer.weight_v = Parameter(lengths, v.dtype), Parameter(v, v.dtype)
    layer.__class__ = type(f"WeightNorm{cls.__name__}", (_WeightNorm, cls), {})
    return layer
