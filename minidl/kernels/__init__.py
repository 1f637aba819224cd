"""Convolution, pooling, batch normalisation on arrays: no Tensor, no gradient, only arithmetic."""

from .cpu import batch_norm
from .gpu.graph import Graph
from .choose import (
    add_multiple,
    avg_pool,
    avg_unpool,
    conv_forward,
    conv_input_grad,
    conv_pool,
    conv_pool_grads,
    conv_scale,
    conv_weight_grad,
    cross_entropy,
    in_one_launch,
    keep_positive,
    max_pool,
    max_take,
    max_unpool,
    product,
    update,
)
from .window import NO_TAP, Window, pair, window

__all__ = [
    "Graph",
    "NO_TAP",
    "Window",
    "add_multiple",
    "avg_pool",
    "avg_unpool",
    "batch_norm",
    "conv_forward",
    "conv_input_grad",
    "conv_pool",
    "conv_pool_grads",
    "conv_scale",
    "conv_weight_grad",
    "cross_entropy",
    "in_one_launch",
    "keep_positive",
    "max_pool",
    "max_take",
    "max_unpool",
    "pair",
    "product",
    "update",
    "window",
]
