"""Fusion: neighbouring layers that one kernel runs together, or that run faster in another order.

`Sequential` calls its layers through `fused`. Results are equal to those of the layers one by one,
except that sums in another order are rounded differently. Time and memory are saved. The rules:
1. relu and a max-pooling right behind it change places, because relu is monotonic: max(relu(x)) =
   relu(max(x)). Pooling first leaves relu fewer pixels.
2. a convolution, the max-pooling after it and the relu after that run as one kernel, if there is
   one for their shapes. The convolution's full output is then not stored.
3. relu runs in the same kernel as the max-pooling or the batch normalisation (in training) before
   it, and on a GPU as the dense layer before it: their `forward` takes `rectify`.
Rule 1 is applied before the others. So of convolution, batch normalisation, relu and max-pooling
the last two are joined. A convolution with a relu behind it and no pooling runs in two steps.
A layer with hooks, or whose `forward` was replaced, runs by itself.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

from .. import kernels
from ..modes import is_recording, running
from ..ops.reduce import sum
from ..ops.window import convolution, unpool
from ..tensor import ArrayLike, Tensor, record
from .activation import ReLU
from .conv import Conv2d
from .dense import Dense
from .module import Module
from .norm import BatchNorm2d
from .pool import MaxPool2d


def fused(layers: Sequence[Module]) -> Iterator[Callable[[Any], Any]]:
    """The layers in order, neighbours joined where they run faster together."""
    left: list[Any] = list(layers)
    for i, (first, then) in enumerate(pairwise(layers)):
        if _is_plain(first, ReLU) and _is_plain(then, MaxPool2d):
            left[i : i + 2] = then, first
    while left:
        layer, then, last = (*left, None, None)[:3]
        pooled = _is_plain(layer, Conv2d) and _is_plain(then, MaxPool2d)
        relu = _is_plain(last if pooled else then, ReLU) and (pooled or _takes_relu(layer))
        if pooled:
            yield partial(conv_pool, layer, then, relu)
        else:
            yield partial(layer, rectify=True) if relu else layer
        del left[: 1 + pooled + relu]


def _takes_relu(layer: Any) -> bool:
    """Whether relu can run in the layer's kernel. On the CPU a dense layer gains nothing by it."""
    dense = _is_plain(layer, Dense) and layer.weight.device == "cuda"
    return dense or _is_plain(layer, BatchNorm2d | MaxPool2d)


def _is_plain(layer: Any, kind: Any) -> bool:
    """Whether the layer computes what its kind computes, and has no hooks.

    A subclass may compute anything, so it is plain only if its own class says `fusable`.
    """
    plain = isinstance(layer, kind) and vars(type(layer)).get("fusable", False)
    return plain and not layer.is_watched and "forward" not in vars(layer)


def conv_pool(conv: Conv2d, pool: MaxPool2d, rectify: bool, x: ArrayLike) -> Tensor:
    """pool(conv(x)), and its relu if `rectify`, by one kernel if there is one for these shapes.

    Gradient: in each window g goes to the largest pixel of the convolution's output, or to none
    where relu made the result 0. The rest is a convolution's gradient.
    """
    with running(conv):
        x, w, b, both = convolution("conv2d", x, conv.weight, conv.bias, **conv.geometry)
        places = kernels.pooling(
            "max_pool2d", both.window.out, pool.size, pool.stride, pool.padding, pool.ceil_mode
        )
        layer = x.data, w.data, None if b is None else b.data, both.window, both.groups
        keep = is_recording() and any(t is not None and t.requires_grad for t in (x, w, b))
        value, index = kernels.conv_pool(*layer, places, rectify, indexed=keep) or (None, None)
        if value is None:
            return pool(conv(x), rectify=rectify)
        spread = partial(unpool, index=index, window=places)

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
