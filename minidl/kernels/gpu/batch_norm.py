"""Batch normalisation on a GPU: a launch for the moments, one for y, two for the gradients.

A channel's values are cut into chunks, one for each block of threads. A sum over the channel takes
two steps: first each chunk's own, then those of all chunks in their order. Each launch reads the
images once. A relu after the normalisation costs no launch and no reading.
"""

from __future__ import annotations

from typing import Any

from ...device import Array, array_module, is_capturing
from ...modes import Joint
from .launch import THREADS, counters, dense, each, launch

Running = tuple[Array, Array, Array]  # mean, variance, and the number of batches

OWN = 16  # values of a channel that a thread holds in registers


def _chunks(x: Array) -> int:
    """Into how many chunks the n values of a channel are cut."""
    return -(-x.size // (x.shape[1] * OWN * THREADS))


def _launch(kernel: str, x: Array, *args: Any) -> None:
    """Run a kernel with a block for each chunk of x. `args` come before the sizes."""
    channels, chunks = x.shape[1], _chunks(x)
    sizes = (channels, x.shape[2] * x.shape[3], x.size // channels, chunks)
    launch("batch_norm", kernel, (channels * chunks,), (*args, *sizes), OWN=OWN)


def batch_norm_moments(x: Array) -> tuple[Array, Array]:
    """The mean and the variance (C,) of images x (N, C, H, W).

    Numerics: each chunk subtracts its own mean before it squares; the chunks are then joined.
    Source: Chan, Golub, LeVeque 1979.
    """
    mean, variance = array_module(x).empty((2, x.shape[1]), x.dtype)
    _launch("batch_norm_moments", x, *_by_chunk(x), mean, variance)
    return mean, variance


def batch_norm_statistics(
    x: Array, weight: Array, eps: float, running: Running, momentum: float
) -> tuple[Array, Array, Array, tuple[Array, Array]]:
    """The moments of x, and all that `batch_norm_settle` makes of them, in one launch."""
    mean, count = array_module(x).empty(x.shape[1], x.dtype), x.size // x.shape[1]
    layer, found = _layer(weight, eps, running, momentum, count / (count - 1))
    _launch("batch_norm_statistics", x, *_by_chunk(x), mean, *layer)
    return mean, *found


def batch_norm_settle(
    mean: Array, variance: Array, weight: Array, eps: float, running: Running, momentum: float,
    unbiased: float,
) -> tuple[Array, Array, tuple[Array, Array]]:  # fmt: skip
    """1/√(variance + ε), weight/√(variance + ε), and the running moments moved, in one launch."""
    layer, found = _layer(weight, eps, running, momentum, unbiased)
    args = dense(mean), dense(variance), *layer, mean.size
    launch("batch_norm", "batch_norm_settle", each(mean.size), args, OWN=OWN)
    return found


def _by_chunk(x: Array) -> tuple[Array, ...]:
    """x, room for the moments of each chunk, and a counter for each channel."""
    channels = x.shape[1]
    return dense(x), *array_module(x).empty((2, channels, _chunks(x)), x.dtype), counters(channels)


def _layer(weight: Array, eps: float, running: Running, momentum: float, unbiased: float) -> Any:
    """The arguments LAYER of batch_norm.cu, and those of them that are results."""
    xp, (mean, variance, batches) = array_module(weight), running
    inverse, scale = xp.empty((2, weight.size), weight.dtype)
    # A CUDA graph writes to the same arrays each time. Elsewhere results may share the old ones.
    moved = mean, variance
    if not is_capturing():
        moved = tuple(xp.empty((2, weight.size), weight.dtype))
    arrays = *map(dense, (weight, mean, variance)), *moved, batches, inverse, scale
    return (*arrays, float(eps), float(momentum), float(unbiased)), (inverse, scale, moved)


def batch_norm_affine(
    x: Array, mean: Array, scale: Array, bias: Array, rectify: bool = False
) -> Array:
    """(x - mean)·scale + bias, channel by channel; its relu where `rectify` is True."""
    y = array_module(x).empty(x.shape, x.dtype)
    _launch("batch_norm_affine", x, *map(dense, (x, mean, scale, bias)), y, int(rectify))
    return y


def batch_norm_grads(
    g: Array, x: Array, weight: Array, mean: Array, inverse: Array, bias: Array | None = None,
    joint: Joint | None = None,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """dx, dweight, dbias. The formulas stand in `portable`."""
    xp, channels, chunks = array_module(x), x.shape[1], _chunks(x)
    layer = 0 if bias is None else dense(bias)  # 0 is a null pointer
    given = *map(dense, (g, x, weight, mean, inverse)), layer
    bias_sum, weight_sum = by_chunk = xp.empty((2, channels, chunks), x.dtype)
    _launch("batch_norm_sums", x, *given, bias_sum, weight_sum)
    count, parts = x.size // channels, chunks
    # Two arrays, not one of two rows: as a whole array, each becomes a gradient without a copy.
    by_bias, by_weight = xp.empty(channels, x.dtype), xp.empty(channels, x.dtype)
    if joint is not None:  # x is a part of the batch: dx takes the sums over all of it
        bias_grad, weight_grad = by_chunk.sum(2)
        bias_sum, weight_sum = map(dense, joint.sums(bias_grad, weight_grad))
        count, parts = joint.count(count), 1
    dx = xp.empty(x.shape, x.dtype)
    sums = bias_sum, weight_sum, dx, by_bias, by_weight, parts, count
    _launch("batch_norm_grads", x, *given, *sums)
    return (dx, by_weight, by_bias) if joint is None else (dx, weight_grad, bias_grad)
