"""Convolutions: the same small kernel of weights at every place of an image."""

from typing import Any

import numpy as np

from .. import kernels, ops
from ..checks import check
from ..errors import ConfigError
from ..tensor import ArrayLike, Tensor
from .init import Initializer, draw
from .module import Module, Parameter


class Conv2d(Module):
    """Cross-correlation of images with trained kernels. `ops.conv2d` has formula and gradient.

    Shapes: x (N, in, H, W) -> (N, out, OH, OW); weight (out, in/groups, kh, kw); bias (out,).
    kernel_size, stride, dilation: ints or pairs; padding also "same" or "valid".
    init: the initializer of the weight, see `nn.init`; the bias starts at 0.
    Raises: ConfigError where groups does not divide both numbers of channels.
    """

    transposed, fusable = False, True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
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
        # Called for its checks of the numbers: the window fits into an image this large.
        window = kernels.window(call, (1 << 20, 1 << 20), kernel_size, stride, padding, dilation)
        self.in_channels, self.out_channels, self.kernel_size = *sizes, window.size
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups
        weight = draw(call, init, (out_channels, in_channels // groups, *window.size))
        if self.transposed:  # within each group, outputs and inputs change places
            weight = np.reshape(weight, (groups, -1, *np.shape(weight)[1:])).swapaxes(1, 2)
            weight = weight.reshape(in_channels, -1, *window.size)
        self.weight = Parameter(weight)
        self.bias = Parameter(np.zeros(out_channels)) if bias else None

    @property
    def geometry(self) -> dict[str, Any]:
        """Stride, padding, dilation and groups, as `ops.conv2d` takes them."""
        return {n: getattr(self, n) for n in ("stride", "padding", "dilation", "groups")}

    def forward(self, x: ArrayLike) -> Tensor:
        return ops.conv2d(x, self.weight, self.bias, **self.geometry)


class ConvTranspose2d(Conv2d):
    """The transpose of `Conv2d`, which enlarges images. `ops.conv_transpose2d` has the formula.

    Shapes: x (N, in, H, W) -> (N, out, OH, OW); weight (in, out/groups, kh, kw); bias (out,).
    """

    transposed = True

    def __init__(self, *args: Any, output_padding: Any = 0, **options: Any) -> None:
        super().__init__(*args, **options)
        self.output_padding = output_padding

    @property
    def geometry(self) -> dict[str, Any]:
        """Conv2d's geometry and `output_padding`, as `ops.conv_transpose2d` takes them."""
        return super().geometry | {"output_padding": self.output_padding}

    def forward(self, x: ArrayLike) -> Tensor:
        return ops.conv_transpose2d(x, self.weight, self.bias, **self.geometry)
