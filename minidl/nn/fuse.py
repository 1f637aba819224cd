"""Fusion: neighbouring layers that one kernel runs together, or that run faster in another order.

`Sequential` calls its layers through `fused`. Results are equal to those of the layers one by one,
except that sums in another order are rounded differently. Time and memory are saved. Two rules:
- relu and max-pooling change places, because relu is monotonic: max(relu(x)) = relu(max(x)).
  Pooling first leaves relu fewer pixels.
- a convolution, the max-pooling after it and the relu after that run as one kernel, if there is one
  for their shapes. The convolution's full output is then not stored.
A layer with hooks, or whose `forward` was replaced, runs by itself.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

from .. import kernels
from ..modes import is_recording, running
from ..ops.reduce import sum
from ..ops.window import convolution, unpool
from ..tensor import ArrayLike, Tensor, record
from .activation import ReLU
from .conv import Conv2d
from .module import Module
from .pool import MaxPool2d


def fused(layers: Sequence[Module]) -> Iterator[Callable[[Any], Any]]:
    """The layers in order, neighbours joined where they run faster together."""
    left: list[Any] = list(layers)
    for i, (first, then) in enumerate(pairwise(layers)):
        if _is_plain(first, ReLU) and _is_plain(then, MaxPool2d):
            left[i : i + 2] = then, first
    while left:
        layer, pool, relu = (*left, None, None)[:3]
        if _is_plain(layer, Conv2d) and _is_plain(pool, MaxPool2d):
            relu = relu if _is_plain(relu, ReLU) else None
            yield _ConvPool(layer, pool, relu)
            del left[: 2 if relu is None else 3]
        else:
            yield left.pop(0)


def _is_plain(layer: Any, kind: type[Module]) -> bool:
    """Whether the layer computes what its kind computes, and has no hooks.

    A subclass may compute anything, so it is plain only if its own class says `fusable`.
    """
    plain = isinstance(layer, kind) and vars(type(layer)).get("fusable", False)
    return plain and not layer.is_watched and "forward" not in vars(layer)


class _ConvPool:
    """A convolution, a max-pooling and perhaps a relu, called as one layer."""

    def __init__(self, conv: Conv2d, pool: MaxPool2d, relu: ReLU | None) -> None:
        self.conv, self.pool, self.relu = conv, pool, relu

    def __call__(self, x: ArrayLike) -> Tensor:
        with running(self.conv):
            y = conv_pool(x, self.conv, self.pool, self.relu is not None)
        if y is None:  # no kernel does both for these shapes
            y = self.pool(self.conv(x))
            y = y if self.relu is None else self.relu(y)
        return y


def conv_pool(x: ArrayLike, conv: Conv2d, pool: MaxPool2d, rectify: bool) -> Tensor | None:
    """max_pool2d(conv2d(x)), and its relu if `rectify`; None if no kernel does this in one.

    Gradient: in each window g goes to the largest pixel of the convolution's output, or to none
    where relu made the result 0. The rest is a convolution's gradient.
    """
    x, w, b, both = convolution("conv2d", x, conv.weight, conv.bias, **conv.geometry)
    places = kernels.pooling(
        "max_pool2d", both.window.out, pool.size, pool.stride, pool.padding, pool.ceil_mode
    )
    layer = x.data, w.data, None if b is None else b.data, both.window, both.groups
    keep = is_recording() and any(t is not None and t.requires_grad for t in (x, w, b))
    value, index = kernels.conv_pool(*layer, places, rectify, indexed=keep) or (None, None)
    if value is None:  # no kernel does both for these shapes
        return None

    def spread(g: Tensor) -> Tensor:
        return unpool(g, index, places)

    def fast(g: Tensor, y: Tensor, needed: tuple[bool, ...]) -> list[Tensor | None]:
        by_x = both.by_input(spread(g), w) if needed[0] else None
        if not any(needed[1:]):
            return [by_x, None, None][: len(needed)]
        found = kernels.conv_pool_grads(x.data, g.data, index, both.window, both.groups, places)
        return [by_x, *map(Tensor, found)][: len(needed)]

    return record(
        value,
        (x, lambda g, y: both.by_input(spread(g), w)),
        (w, lambda g, y: both.by_kernel(x, spread(g))),
        *(() if b is None else ((b, lambda g, y: sum(spread(g), (0, 2, 3))),)),
        name="conv2d + max_pool2d" + rectify * " + relu",
        fast=fast,
    )
