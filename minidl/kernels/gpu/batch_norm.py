"""Batch normalisation on a GPU: two launches for the moments, one for y, two for the gradients.

A channel's values are cut into chunks, one for each block of threads. A sum over the channel takes
two steps: first each chunk's own, then those of all chunks in their order. Each launch reads the
images once.
"""

from __future__ import annotations

from typing import Any

from ...device import Array, array_module, is_capturing
from ...modes import Joint
from .launch import THREADS, dense, each, launch

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
    xp, channels, chunks = array_module(x), x.shape[1], _chunks(x)
    means, variances = xp.empty((2, channels, chunks), x.dtype)
    mean, variance = xp.empty((2, channels), x.dtype)
    _launch("batch_norm_chunks", x, dense(x), means, variances)
    args = (means, variances, mean, variance, channels, x.size // channels, chunks)
    launch("batch_norm", "batch_norm_join", each(32 * channels), args, OWN=OWN)
    return mean, variance


def batch_norm_affine(x: Array, mean: Array, scale: Array, bias: Array) -> Array:
    """(x - mean)·scale + bias, channel by channel."""
    y = array_module(x).empty(x.shape, x.dtype)
    _launch("batch_norm_affine", x, *map(dense, (x, mean, scale, bias)), y)
    return y


def batch_norm_grads(
    g: Array, x: Array, weight: Array, mean: Array, inverse: Array, joint: Joint | None = None
) -> tuple[Array, Array, Array]:
    """dx, dweight, dbias. The formulas stand in `portable`."""
    xp, channels, chunks = array_module(x), x.shape[1], _chunks(x)
    g, x, weight, mean, inverse = map(dense, (g, x, weight, mean, inverse))
    by_chunk, sums = xp.empty((2, channels, chunks), x.dtype), xp.empty((2, channels), x.dtype)
    bias_sum, weight_sum = by_chunk
    _launch("batch_norm_sums", x, g, x, mean, inverse, bias_sum, weight_sum)
    count, parts = x.size // channels, chunks
    if joint is not None:  # x is a part of the batch: dx takes the sums over all of it
        bias_grad, weight_grad = by_chunk.sum(2)
        bias_sum, weight_sum = map(dense, joint.sums(bias_grad, weight_grad))
        count, parts = joint.count(count), 1
    dx = xp.empty(x.shape, x.dtype)
    args = (g, x, weight, mean, inverse, bias_sum, weight_sum, dx, sums, parts, count)
    _launch("batch_norm_grads", x, *args)
    if joint is None:
        bias_grad, weight_grad = sums
    return dx, weight_grad, bias_grad


def batch_norm_scale(variance: Array, weight: Array, eps: float) -> tuple[Array, Array]:
    """1/√(variance + ε) and weight/√(variance + ε), for each channel, in one launch."""
    inverse, scale = array_module(variance).empty((2, variance.size), variance.dtype)
    args = (dense(variance), dense(weight), inverse, scale, float(eps), variance.size)
    launch("batch_norm", "batch_norm_scale", each(variance.size), args, OWN=OWN)
    return inverse, scale


def batch_norm_follow(
    running: tuple[Array, Array], seen: tuple[Array, Array], momentum: float, unbiased: float
) -> tuple[Array, Array]:
    """Running moments, moved towards those that were seen, in one launch."""
    count, like = running[0].size, running[0]
    # A CUDA graph writes to the same arrays each time. Elsewhere results may share the old ones.
    to = running if is_capturing() else tuple(array_module(like).empty((2, count), like.dtype))
    args = (*map(dense, (*running, *seen)), *to, float(momentum), float(unbiased), count)
    launch("batch_norm", "batch_norm_follow", each(count), args, OWN=OWN)
    return to
