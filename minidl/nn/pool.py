"""Pooling as layers, and Flatten: what makes images smaller, or vectors of them."""

from typing import Any

from .. import ops
from ..tensor import ArrayLike, Tensor
from .module import Module


class MaxPool2d(Module):
    """The largest pixel of each window, see `ops.max_pool2d`. stride is size by default."""

    def __init__(self, size: Any, stride: Any = None, padding: Any = 0) -> None:
        self.size, self.stride, self.padding = size, stride, padding

    def forward(self, x: ArrayLike) -> Tensor:
        return ops.max_pool2d(x, self.size, stride=self.stride, padding=self.padding)


class AvgPool2d(Module):
    """The mean of each window, see `ops.avg_pool2d`. stride is size by default."""

    def __init__(self, size: Any, stride: Any = None, padding: Any = 0) -> None:
        self.size, self.stride, self.padding = size, stride, padding

    def forward(self, x: ArrayLike) -> Tensor:
        return ops.avg_pool2d(x, self.size, stride=self.stride, padding=self.padding)


class GlobalAvgPool2d(Module):
    """The mean of each whole image: (N, C, H, W) -> (N, C)."""

    def forward(self, x: ArrayLike) -> Tensor:
        return ops.global_avg_pool2d(x)


class Flatten(Module):
    """The axes from `start` on made one: (N, C, H, W) -> (N, C·H·W)."""

    def __init__(self, start: int = 1) -> None:
        self.start = start

    def forward(self, x: ArrayLike) -> Tensor:
        return ops.flatten(x, self.start)
