"""Convolutions of every geometry on a GPU.

Where few products are summed for an output, a thread for each output sums them. Else the images
become a column matrix, and the convolution is a product of matrices. For few input channels and
small windows, `few` has faster kernels.
"""

from __future__ import annotations

import math

from ...device import Array, array_module
from ..window import Window
from . import few
from .launch import dense, each, launch
from .product import product

FEW = 64  # up to so many taps·channels, summing directly is faster than a column matrix and cuBLAS


def conv_forward(x: Array, w: Array, b: Array | None, window: Window, groups: int) -> Array:
    """Convolution: summed directly for few taps, else a column matrix and a matrix product."""
    xp, (n, channels), n_out = array_module(x), x.shape[:2], len(w)
    taps = w.shape[1] * window.size[0] * window.size[1]
    if groups == 1 and few.fits(n_out, channels, window):
        return few.conv_forward(x, w, b, window)
    if groups == 1 and taps <= FEW:
        y = xp.empty((n, n_out, *window.out), x.dtype)
        bias = x if b is None else b  # a kernel's pointer must point somewhere
        sizes = (y.size, channels, n_out, int(b is not None))
        args = (dense(x), dense(w), dense(bias), y, *sizes, window)
        launch("convolution", "conv", each(y.size), args)
        return y
    kernel = w.reshape(groups, n_out // groups, taps)
    y = product(kernel, im2col(x, window, groups)).reshape(n, n_out, *window.out)
    if b is not None:
        y += b.reshape(-1, 1, 1)
    return y


def im2col(x: Array, window: Window, groups: int) -> Array:
    """The column matrix: the pixel under each tap at each place.

    Shape: (N, groups, C/groups·kh·kw, OH·OW).
    """
    n, channels = x.shape[:2]
    (kh, kw), places = window.size, window.out[0] * window.out[1]
    shape = (n, groups, channels // groups * kh * kw, places)
    columns = array_module(x).empty(shape, x.dtype)
    launch("convolution", "im2col", each(columns.size), (dense(x), columns, columns.size, window))
    return columns


def conv_input_grad(g: Array, w: Array, window: Window, groups: int) -> Array:
    """The gradient by x: wᵀ @ g is that of the column matrix; each pixel then sums its copies."""
    xp, n, channels = array_module(g), len(g), w.shape[1] * groups
    kernel = w.reshape(groups, len(w) // groups, -1)
    columns = product(kernel.swapaxes(1, 2), g.reshape(n, groups, len(w) // groups, -1))
    dx = xp.empty((n, channels, *window.image), g.dtype)
    launch("convolution", "col2im", each(dx.size), (dense(columns), dx, dx.size, window))
    return dx


def conv_weight_grad(x: Array, g: Array, window: Window, groups: int) -> Array:
    """The gradient by w: for few taps, a block for each weight; else g @ column matrixᵀ."""
    xp, (n, channels), n_out = array_module(x), x.shape[:2], g.shape[1]
    if groups == 1 and few.grads_fit(n_out, channels, window):
        return few.conv_weight_grad(x, g, window)
    dw = xp.empty((n_out, channels // groups, *window.size), x.dtype)
    if groups == 1 and dw[0].size <= FEW:
        args = (dense(x), dense(g), dw, n, channels, n_out, window)
        launch("convolution", "conv_weight", (dw.size,), args)
        return dw
    columns = im2col(x, window, groups)
    grads = g.reshape(n, groups, n_out // groups, -1)
    return product(grads, columns.swapaxes(2, 3)).sum(0).reshape(dw.shape)


def conv_pool(
    x: Array, w: Array, b: Array | None, window: Window, pool: Window, rectify: bool, indexed: bool
) -> tuple[Array, Array]:
    """Convolution, bias, max-pooling and relu in one; the convolution's output is not stored."""
    if few.fits(len(w), x.shape[1], window, pool.size):
        return few.conv_pool(x, w, b, window, pool, rectify)
    xp = array_module(x)
    y = xp.empty((len(x), len(w), *pool.out), x.dtype)
    index = xp.empty(y.shape, xp.uint8)
    sizes = (y.size, x.shape[1], len(w), int(b is not None), int(rectify), *pool.out, *pool.size)
    args = (dense(x), dense(w), dense(x if b is None else b), y, index, *sizes, window)
    launch("convolution", "conv_pool", each(y.size), args)
    return y, index


def conv_pool_grads(
    x: Array, g: Array, index: Array, window: Window, pool: Window
) -> tuple[Array, Array]:
    """The gradients by w and b: a block for each of their numbers sums over the pooled places."""
    if few.grads_fit(g.shape[1], x.shape[1], window, pool.size):
        return few.conv_pool_grads(x, g, index, window, pool)
    shape = (g.shape[1], x.shape[1], *window.size)
    grads, weights = array_module(x).empty(math.prod(shape) + g.shape[1], x.dtype), math.prod(shape)
    sizes = (weights, len(x), x.shape[1], g.shape[1], *pool.out, *pool.size)
    args = (dense(x), dense(g), dense(index), grads, *sizes, window)
    launch("convolution", "conv_pool_grads", (grads.size,), args)
    return grads[:weights].reshape(shape), grads[weights:]
