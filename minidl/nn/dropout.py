"""Dropout: in training, values are set to 0 at random."""

from .. import kernels
from ..checks import check, floating
from ..tensor import ArrayLike, Tensor
from .module import Module


class Dropout(Module):
    """In training, y is 0 with probability p, else x/(1 - p), for each value by itself; else y = x.

    The division keeps the expected value of y at x, so that prediction needs no other scale.
    Gradient: dL/dx = 0 where y was set to 0, else g/(1 - p).
    Source: Srivastava et al. 2014, section 10.
    """

    def __init__(self, p: float = 0.5) -> None:
        check("Dropout", "in [0, 1)", p=p)
        self.p = float(p)

    def forward(self, x: ArrayLike) -> Tensor:
        x, _ = floating(x)
        if not self.training or self.p == 0:
            return x
        return x * Tensor(kernels.dropout_mask(x.data, self.p))
