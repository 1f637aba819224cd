"""Layers that make images smaller (pooling) or turn them into vectors (Flatten)."""

from dataclasses import dataclass
from typing import Any

from .. import ops
from .module import Applied


@dataclass(eq=False, repr=False)
class _Pool2d(Applied):
    """size, stride: ints or pairs; stride is size by default. `ops` explains the other options."""

    size: Any
    stride: Any = None
    padding: Any = 0
    ceil_mode: bool = False


class MaxPool2d(_Pool2d):
    """The largest pixel of each window: (N, C, H, W) -> (N, C, OH, OW), see `ops.max_pool2d`."""

    fusable = True
    operation = staticmethod(ops.max_pool2d)


@dataclass(eq=False, repr=False)
class AvgPool2d(_Pool2d):
    """The mean of each window: (N, C, H, W) -> (N, C, OH, OW), see `ops.avg_pool2d`."""

    operation = staticmethod(ops.avg_pool2d)
    count_include_pad: bool = True


class GlobalAvgPool2d(Applied):
    """The mean of each whole image: (N, C, H, W) -> (N, C)."""

    operation = staticmethod(ops.global_avg_pool2d)


@dataclass(eq=False, repr=False)
class Flatten(Applied):
    """The axes from `start` on joined into one: (N, C, H, W) -> (N, C·H·W)."""

    operation = staticmethod(ops.flatten)
    start: int = 1
