"""Batch normalisation: few passes over memory, each over rows that stay in the cache.

Like pooling it multiplies next to nothing: its time is how often the images are read and written.
On the CPU each step therefore takes a few image rows at a time, all channels and images of them,
and does everything it can while they are in the cache. Sums of products are taken by einsum, which
writes no product down (on a GPU it would ask cuBLAS for it). The normalized images are not kept for
the backward pass: to compute (x - mean)/deviation again is cheaper than to read it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...device import Array, array_module, is_host

TILE = 512 * 1024  # bytes of the rows taken at a time

AXES = (0, 2, 3)  # of images (N, C, H, W): all but the channels


def moments(x: Array) -> tuple[Array, Array]:
    """Mean and variance (C,) of images x (N, C, H, W).

    Each tile's own are taken while it is in the cache, and joined: with d between the means of m
    and n values, Σ(x - mean)² is the sum of both and d²·m·n/(m + n).
    Source: Chan, Golub, LeVeque 1979, eq. 2.1.
    """
    seen, mean, squares = 0, 0.0, 0.0
    for rows in _rows(x):
        part = x[rows]
        count = part.size // part.shape[1]
        own = part.sum(AXES) / count
        centred = part - _by_channel(own)
        apart, share = own - mean, count / (seen + count)
        squares += _dot(centred, centred) + apart * (apart * (seen * share))
        mean += apart * share
        seen += count
    return mean, squares / seen


def affine(x: Array, mean: Array, scale: Array, bias: Array) -> Array:
    """(x - mean)·scale + bias, by channel."""
    xp = array_module(x)
    y = xp.empty_like(x)
    mean, scale, bias = _by_channel(mean), _by_channel(scale), _by_channel(bias)
    for rows in _rows(x):
        part = x[rows] - mean
        part *= scale
        xp.add(part, bias, out=y[rows])
    return y


def gradients(
    g: Array, x: Array, weight: Array, mean: Array, inverse: Array
) -> tuple[Array, Array, Array]:
    """dx, dweight, dbias of y = x̂·weight + bias, with x̂ = (x - mean)·inverse.

    dbias = Σ g, dweight = Σ g·x̂, dx = weight·inverse·(g - dbias/n - x̂·dweight/n), n values each.
    """
    xp, count, centre = array_module(x), x.size // x.shape[1], _by_channel(mean)
    sums = ((g[rows].sum(AXES), _dot(x[rows] - centre, g[rows])) for rows in _rows(x))
    bias_grad, products = map(sum, zip(*sums, strict=True))
    weight_grad = inverse * products
    slope, level = _by_channel(inverse * weight_grad / count), _by_channel(bias_grad / count)
    scale, x_grad = _by_channel(weight * inverse), xp.empty_like(x)
    for rows in _rows(x):
        part = centre - x[rows]
        part *= slope
        part += g[rows]
        part -= level
        xp.multiply(part, scale, out=x_grad[rows])
    return x_grad, weight_grad, bias_grad


def _dot(a: Array, b: Array) -> Array:
    """Σ a·b by channel, on the CPU without a temporary."""
    return np.einsum("nchw,nchw->c", a, b) if is_host(a) else (a * b).sum(AXES)


def _by_channel(values: Array) -> Array:
    return values.reshape(1, -1, 1, 1)


def _rows(x: Array) -> Iterator[tuple[slice, slice, slice]]:
    """The images' rows, as many at a time as TILE holds; on a GPU all of them."""
    height = x.shape[2]
    size = x.size // height * x.itemsize
    count = max(TILE // size, 1) if is_host(x) else height
    for top in range(0, height, count):
        yield slice(None), slice(None), slice(top, top + count)
