"""Batch normalisation in few passes over memory, each over rows that stay in the cache.

Like pooling it does little arithmetic: its time is spent on reading and writing the images. Each
step therefore takes a few image rows at a time, of all channels and images, and does all its work
on them while they are in the cache, that of relu too. einsum takes the sums of products, because it
stores no product. The normalised images are not kept for the backward pass, nor where they were
positive: computing them again is cheaper than reading them from memory.

An operation such as x - mean takes one mean for a whole run of numbers of x: W·N numbers, since
those of one channel and row lie side by side. NumPy's loop can read one mean for the whole run, but
only if the run is as long as NumPy's buffer of 8,192 numbers. For a shorter run NumPy first fills
the buffer with copies of the mean, which takes longer than the subtraction itself. For 131,072
numbers in runs of 2,048 it took 50 µs; with a buffer of 512 numbers it took 17 µs. So the buffer is
made shorter than the runs here (`_share`).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ...device import Array
from ...modes import Joint
from .elementwise import keep
from .threads import Result, share

Rows = tuple[slice, slice, slice]

TILE = 2 * 1024 * 1024  # bytes of the rows taken at a time
BUFFER = 512  # numbers in NumPy's buffer

AXES = (0, 2, 3)  # of images (N, C, H, W): all but the channels


def batch_norm_moments(x: Array) -> tuple[Array, Array]:
    """The mean and the variance (C,) of images x (N, C, H, W).

    The moments of each tile are taken while it is in the cache. Then they are joined to those of
    the tiles before. Formula: let m values and n values have their own sums Σ(x - mean)², and let d
    be the difference of their means. Then Σ(x - mean)² of all m + n values is the two sums plus
    d²·m·n/(m + n).
    Source: Chan, Golub, LeVeque 1979, eq. 2.1.
    """

    def moments(rows: Rows) -> tuple[int, Array, Array]:
        part = x[rows]
        count = part.size // part.shape[1]
        mean = part.sum(AXES) / count
        centred = part - _by_channel(mean)
        return count, mean, _dot(centred, centred)

    seen, mean, squares = 0, 0.0, 0.0
    for count, own, own_squares in _share(moments, x):
        apart, fraction = own - mean, count / (seen + count)
        squares += own_squares + apart * (apart * (seen * fraction))
        mean += apart * fraction
        seen += count
    return mean, squares / seen


def batch_norm_affine(
    x: Array, mean: Array, scale: Array, bias: Array, rectify: bool = False
) -> Array:
    """(x - mean)·scale + bias, channel by channel; its relu where `rectify` is True."""
    y = np.empty_like(x)
    mean, scale, bias = _by_channel(mean), _by_channel(scale), _by_channel(bias)

    def compute(rows: Rows) -> None:
        part = x[rows] - mean
        part *= scale
        if rectify:
            part += bias
            np.clip(part, 0, math.inf, out=y[rows])
        else:
            np.add(part, bias, out=y[rows])

    _share(compute, x)
    return y


def batch_norm_grads(
    g: Array, x: Array, weight: Array, mean: Array, inverse: Array, bias: Array | None = None,
    joint: Joint | None = None,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """dx, dweight, dbias. The formulas stand in `portable`."""
    n, centre, scale = x.size // x.shape[1], _by_channel(mean), _by_channel(weight * inverse)

    x_grad = np.empty_like(x)
    # g as it counts: 0 where relu gave 0, and in the memory order of x. So the sums have one order,
    # with relu in this kernel or not.
    counted = g if bias is None and g.strides == x.strides else x_grad

    def sums(rows: Rows) -> tuple[Array, Array]:
        centred, slopes = x[rows] - centre, g[rows]
        if bias is not None:  # y as in `batch_norm_affine`
            y = centred * scale
            y += _by_channel(bias)
            slopes = keep(slopes, y > 0)
        if counted is x_grad:
            counted[rows] = slopes
        return counted[rows].sum(AXES), _dot(centred, counted[rows])

    bias_grad, products = map(sum, zip(*_share(sums, x), strict=True))
    weight_grad = inverse * products
    bias_sum, weight_sum = bias_grad, weight_grad
    if joint is not None:
        n, bias_sum, weight_sum = joint.count(n), *joint.sums(bias_grad, weight_grad)
    slope, level = _by_channel(inverse * weight_sum / n), _by_channel(bias_sum / n)

    def compute(rows: Rows) -> None:
        part = centre - x[rows]
        part *= slope
        part += counted[rows]
        part -= level
        np.multiply(part, scale, out=x_grad[rows])

    _share(compute, x)
    return x_grad, weight_grad, bias_grad


def _share(task: Callable[[Rows], Result], x: Array) -> list[Result]:
    """Call `task` for every tile of x, with NumPy's buffer shorter than the runs of a channel."""
    with np.errstate():  # at its end NumPy has its own buffer again
        if x.shape[3] * len(x) >= BUFFER:
            np.setbufsize(BUFFER)
        return share(task, _rows(x))


def _dot(a: Array, b: Array) -> Array:
    """Σ a·b of each channel."""
    return np.einsum("nchw,nchw->c", a, b)


def _by_channel(values: Array) -> Array:
    return values.reshape(1, -1, 1, 1)


def _rows(x: Array) -> list[Rows]:
    """The images' rows, as many at a time as TILE holds."""
    height = x.shape[2]
    count = max(TILE // (x.size // height * x.itemsize), 1)
    tops = range(0, height, count)
    return [(slice(None), slice(None), slice(top, top + count)) for top in tops]
