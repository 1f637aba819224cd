"""Convolution, pooling, batch normalisation on arrays: no Tensor, no gradient, only arithmetic.

README.md says in which order to read this folder.
"""

from .choose import (
    Update,
    avg_pool,
    avg_unpool,
    batch_norm_affine,
    batch_norm_grads,
    batch_norm_moments,
    batch_norm_statistics,
    conv_forward,
    conv_input_grad,
    conv_pool,
    conv_pool_grads,
    conv_weight_grad,
    cross_entropy,
    keep_positive,
    log_softmax,
    log_softmax_grad,
    max_pool,
    max_take,
    max_unpool,
    product,
    softmax,
    softmax_grad,
    standardize,
    standardize_grad,
    update,
    values_per_channel,
)
from .gpu.graph import Graph
from .gpu.pinned import Feed, Mailbox
from .gpu.update import COLUMNS, numbers_of
from .gpu.whole import Ending
from .window import NO_TAP, Window, pair, pooling, transposed_window, window

__all__ = [
    "COLUMNS",
    "Ending",
    "Feed",
    "Mailbox",
    "numbers_of",
    "Graph",
    "NO_TAP",
    "Update",
    "Window",
    "avg_pool",
    "avg_unpool",
    "batch_norm_affine",
    "batch_norm_grads",
    "batch_norm_moments",
    "batch_norm_statistics",
    "conv_forward",
    "conv_input_grad",
    "conv_pool",
    "conv_pool_grads",
    "conv_weight_grad",
    "cross_entropy",
    "keep_positive",
    "log_softmax",
    "log_softmax_grad",
    "max_pool",
    "max_take",
    "max_unpool",
    "pair",
    "pooling",
    "product",
    "softmax",
    "softmax_grad",
    "standardize",
    "standardize_grad",
    "transposed_window",
    "update",
    "values_per_channel",
    "window",
]
