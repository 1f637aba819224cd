"""Dense: every output is a weighted sum of every input."""

import numpy as np

from .. import ops
from ..checks import check
from ..errors import ShapeError
from ..tensor import ArrayLike, Tensor, as_tensor
from .init import Initializer, draw
from .module import Module, Parameter


class Dense(Module):
    """y = x·Wᵀ + b; dL/dW = gᵀ·x, dL/db = Σ g, dL/dx = g·W.

    Shapes: x (..., in) -> (..., out); weight (out, in); bias (out,), which starts at 0.
    init: the initializer of the weight, see `nn.init`. rectify: relu follows, see `nn.fuse`.
    Raises: ShapeError where the last axis of x has another length than in_features.
    """

    fusable = True

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        init: Initializer = "he_normal",
    ) -> None:
        check("Dense", "an int >= 1", in_features=in_features, out_features=out_features)
        self.in_features, self.out_features = int(in_features), int(out_features)
        self.weight = Parameter(draw("Dense", init, (self.out_features, self.in_features)))
        self.bias = Parameter(np.zeros(self.out_features)) if bias else None

    def forward(self, x: ArrayLike, rectify: bool = False) -> Tensor:
        x = as_tensor(x)
        if x.shape[-1:] != (self.in_features,):
            raise ShapeError(
                f"Dense: expected x with {self.in_features} features on its last axis, got "
                f"{x.shape}; put Flatten() before it if x are images, or change in_features"
            )
        return ops.linear(x, self.weight, self.bias, rectify=rectify)
