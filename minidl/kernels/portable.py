"""Convolution, pooling, batch normalisation and the loss in functions that NumPy and CuPy share.

A kernel with a window loops over its taps (i, j) and treats all places at once: the pixels under
one tap are a strided view of the padded image, `padded[:, :, rows, columns]`. A convolution is then
one matrix product for each tap. Its input gradient adds into the same views. Pooling takes their
maximum or their sum. No column matrix is built.
"""

from __future__ import annotations

import math

import numpy as np

from ..device import Array, array_module, is_capturing, is_host
from ..modes import Joint
from .cpu.blas import one_blas_thread
from .window import Window

AXES = (0, 2, 3)  # of images (N, C, H, W): all but the channels


@one_blas_thread()
def conv_forward(x: Array, w: Array, b: Array | None, window: Window, groups: int) -> Array:
    """Convolution (cross-correlation) of x (N, C, H, W) with w (O, C/groups, kh, kw), plus b."""
    xp = array_module(x)
    weight = _by_group(w, groups)
    per_group, n_in = weight.shape[1:3]
    y = xp.zeros((len(x), groups, per_group, window.out[0] * window.out[1]), _common(x, w, b))
    padded = pad(x, window)
    for i, j, rows, columns in window.taps():
        seen = padded[:, :, rows, columns].reshape(len(x), groups, n_in, y.shape[-1])
        y += xp.matmul(weight[..., i, j], seen)  # (G, O/G, C/G) @ (N, G, C/G, OH·OW)
    y = y.reshape(len(x), w.shape[0], *window.out)
    if b is not None:
        y += b.reshape(-1, 1, 1)
    return y


@one_blas_thread()
def conv_input_grad(g: Array, w: Array, window: Window, groups: int) -> Array:
    """The gradient by x (N, C, H, W): each tap adds wᵀ @ g to the pixels that it saw."""
    xp = array_module(g)
    weight = _by_group(w, groups)
    per_group, n_in = weight.shape[1:3]
    places = (len(g), groups * n_in, *window.out)
    grad = g.reshape(len(g), groups, per_group, window.out[0] * window.out[1])
    padded = xp.zeros((len(g), groups * n_in, *window.padded), _common(g, w))
    for i, j, rows, columns in window.taps():
        back = xp.matmul(weight[..., i, j].swapaxes(1, 2), grad)  # (N, G, C/G, OH·OW)
        padded[:, :, rows, columns] += back.reshape(places)
    return padded[:, :, *window.inside]


@one_blas_thread()
def conv_weight_grad(x: Array, g: Array, window: Window, groups: int) -> Array:
    """The gradient by w (O, C/groups, kh, kw): at each tap, g times the pixels that it saw."""
    xp = array_module(x)
    n_out, n_in = g.shape[1], x.shape[1] // groups
    n_places = window.out[0] * window.out[1]
    grad = g.reshape(len(g), groups, n_out // groups, n_places)
    dw = xp.empty((groups, n_out // groups, n_in, *window.size), _common(x, g))
    padded = pad(x, window)
    for i, j, rows, columns in window.taps():
        seen = padded[:, :, rows, columns].reshape(len(x), groups, n_in, n_places)
        dw[..., i, j] = xp.matmul(grad, seen.swapaxes(2, 3)).sum(0, dtype=wider(dw))
    return dw.reshape(n_out, n_in, *window.size)


def max_pool(x: Array, window: Window, rectify: bool = False) -> tuple[Array, Array]:
    """The largest pixel under each place, and which tap saw it first; a NaN is the largest.

    With `rectify`, relu of that; where it is 0, the index is the largest number of its type.
    """
    xp = array_module(x)
    padded = pad(x, window, -float("inf"))
    y = xp.full((*x.shape[:2], *window.out), -float("inf"), x.dtype)
    numbers = window.size[0] * window.size[1] + rectify  # that the index must tell apart
    index = xp.zeros(y.shape, xp.uint8 if numbers <= 256 else xp.int64)
    if any(window.pads):  # if every pixel is -∞, the index is that of the first one, not of padding
        index[...] = xp.asarray(window.first_taps)
    for i, j, rows, columns in window.taps():
        seen = padded[:, :, rows, columns]
        # A NaN in `seen` is not <= y, so it counts as larger. If y is NaN already, y == y is false,
        # so the first NaN stays.
        larger = ~(seen <= y) & (y == y)
        index[larger] = i * window.size[1] + j
        y = xp.maximum(y, seen)
    if rectify:
        index[~(y > 0)] = np.iinfo(index.dtype).max
        y = xp.clip(y, 0, math.inf)
    return y, index


def max_unpool(g: Array, index: Array, window: Window) -> Array:
    """Each g at the pixel that was the maximum, added up where places share a pixel."""
    xp = array_module(g)
    padded = xp.zeros((*g.shape[:2], *window.padded), g.dtype)
    for i, j, rows, columns in window.taps():
        padded[:, :, rows, columns] += xp.where(index == i * window.size[1] + j, g, 0)
    return padded[:, :, *window.inside]


def max_take(x: Array, index: Array, window: Window) -> Array:
    """x at the pixels that were the maxima: the transpose of `max_unpool`."""
    xp = array_module(x)
    padded = pad(x, window)
    y = xp.zeros((*x.shape[:2], *window.out), x.dtype)
    for i, j, rows, columns in window.taps():
        y = xp.where(index == i * window.size[1] + j, padded[:, :, rows, columns], y)
    return y


def avg_pool(x: Array, window: Window) -> Array:
    """The mean of the pixels under each place; the padding's zeros count."""
    xp = array_module(x)
    padded = pad(x, window)
    y = xp.zeros((*x.shape[:2], *window.out), wider(x) or x.dtype)
    for _, _, rows, columns in window.taps():
        y += padded[:, :, rows, columns]
    y *= 1.0 / (window.size[0] * window.size[1])
    return y.astype(x.dtype, copy=False)


def avg_unpool(g: Array, window: Window) -> Array:
    """An equal share of each g at every pixel under its place."""
    xp = array_module(g)
    share = g * (1.0 / (window.size[0] * window.size[1]))
    padded = xp.zeros((*g.shape[:2], *window.padded), g.dtype)
    for _, _, rows, columns in window.taps():
        padded[:, :, rows, columns] += share
    return padded[:, :, *window.inside]


def batch_norm_moments(x: Array) -> tuple[Array, Array]:
    """The mean and the variance (C,) of images x (N, C, H, W)."""
    mean = x.mean(AXES, dtype=wider(x))
    centred = x - mean.reshape(1, -1, 1, 1)  # CuPy's own `var` takes several times as long
    return mean, (centred * centred).mean(AXES)


def batch_norm_settle(
    mean: Array, variance: Array, weight: Array, eps: float, running: tuple[Array, Array, Array],
    momentum: float, unbiased: float,
) -> tuple[Array, Array, tuple[Array, ...]]:  # fmt: skip
    """1/√(variance + ε) and weight/√(variance + ε), for each channel; the running moments, moved.

    running·(1 - momentum) + momentum·seen, the seen variance times `unbiased`.
    """
    inverse = 1 / array_module(variance).sqrt(variance + eps)
    *moments, batches = running
    batches += 1
    moved = [
        (old * (1 - momentum) + momentum * new).astype(old.dtype, copy=False)
        for old, new in zip(moments, (mean, variance * unbiased), strict=True)
    ]
    if not is_capturing():  # results that share the old arrays must not change
        return inverse, weight * inverse, tuple(moved)
    for old, new in zip(moments, moved, strict=True):
        old[...] = new  # a CUDA graph writes to the same array each time
    return inverse, weight * inverse, tuple(moments)


def batch_norm_affine(
    x: Array, mean: Array, scale: Array, bias: Array, rectify: bool = False
) -> Array:
    """(x - mean)·scale + bias, channel by channel; its relu where `rectify` is True."""
    mean, scale, bias = (values.reshape(1, -1, 1, 1) for values in (mean, scale, bias))
    y = (x - mean) * scale + bias
    return array_module(y).clip(y, 0, math.inf) if rectify else y


def batch_norm_grads(
    g: Array, x: Array, weight: Array, mean: Array, inverse: Array, bias: Array | None = None,
    joint: Joint | None = None,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """dx, dweight, dbias of y = x̂·weight + bias, with x̂ = (x - mean)·inverse and n values each.

    dbias = Σ g, dweight = Σ g·x̂, dx = weight·inverse·(g - dbias/n - x̂·dweight/n). With `bias`, g is
    the gradient of relu(y), and counts only where y > 0. With `joint`, x is a part of the batch: n
    and both sums in dx are those of the whole batch.
    """
    n, by_channel = x.size // x.shape[1], (1, -1, 1, 1)
    centred = x - mean.reshape(by_channel)
    if bias is not None:
        y = centred * (weight * inverse).reshape(by_channel) + bias.reshape(by_channel)
        g = array_module(g).where(y > 0, g, g.dtype.type(0))
    bias_grad = g.sum(AXES, dtype=wider(g))
    weight_grad = inverse * (g * centred).sum(AXES)
    bias_sum, weight_sum = bias_grad, weight_grad
    if joint is not None:
        n, bias_sum, weight_sum = joint.count(n), *joint.sums(bias_grad, weight_grad)
    x_grad = g - (bias_sum / n).reshape(by_channel)
    centred *= (inverse * weight_sum / n).reshape(by_channel)
    x_grad -= centred
    x_grad *= (weight * inverse).reshape(by_channel)
    return x_grad, weight_grad, bias_grad


def wider(x: Array) -> type | None:
    """float32 for float16, whose sums stop at 2,048 ones and overflow above 65,504; else None."""
    return np.float32 if x.dtype.itemsize == 2 else None


MANY = 1024  # with more terms, a float32 sum would lose digits that matter


def add_up(x: Array, axes: tuple[int, ...], keepdims: bool = True) -> Array:
    """Σ x along axes, returned in the dtype in which it was added up.

    In n additions one after the other, rounding errors grow with n: a float32 sum of 20 million
    ones stops at 16.8 million. A float16 sum overflows above 65,504. So float16 is added up in
    float32. float32 is added up in float64 if there are many terms.
    """
    wide = None
    if x.dtype.kind == "f" and x.dtype.itemsize < 8:
        many = x.size > MANY and math.prod([x.shape[i] for i in axes]) > MANY
        wide = np.float32 if x.dtype.itemsize == 2 else np.float64 if many else None
    return x.sum(axes, dtype=wide, keepdims=keepdims)


def softmax(x: Array, axis: int) -> Array:
    """eˣ / Σ eˣ along an axis. The largest x is subtracted first, so that eˣ cannot overflow."""
    if not x.size:
        return x
    powers = array_module(x).exp(x - x.max(axis, keepdims=True))
    return (powers / add_up(powers, (axis,))).astype(x.dtype, copy=False)


def softmax_grad(g: Array, y: Array, axis: int) -> Array:
    """y·(g - Σ g·y), the gradient by x of y = softmax x."""
    return (y * (g - add_up(g * y, (axis,)))).astype(y.dtype, copy=False)


def log_softmax(x: Array, axis: int) -> Array:
    """x - ln Σ eˣ along an axis, with the largest x subtracted from all of them first."""
    if not x.size:
        return x
    xp, value = array_module(x), x - x.max(axis, keepdims=True)
    return (value - xp.log(add_up(xp.exp(value), (axis,)))).astype(x.dtype, copy=False)


def log_softmax_grad(g: Array, y: Array, axis: int) -> Array:
    """g - eʸ·Σ g, the gradient by x of y = ln softmax x."""
    return (g - array_module(y).exp(y) * add_up(g, (axis,))).astype(y.dtype, copy=False)


def standardize(x: Array, axes: tuple[int, ...], eps: float) -> tuple[Array, Array]:
    """(x - mean)/√(variance + ε) along axes, and the divisor.

    The mean is subtracted twice, because rounding leaves a little of a large one.
    """
    data = x if (wide := wider(x)) is None else x.astype(wide)  # float16's squares overflow
    value = data - data.mean(axes, keepdims=True)
    value -= value.mean(axes, keepdims=True)
    xp = array_module(x)
    deviation = xp.sqrt(xp.square(value).mean(axes, keepdims=True) + eps)
    return (value / deviation).astype(x.dtype, copy=False), deviation


def standardize_grad(g: Array, y: Array, deviation: Array, axes: tuple[int, ...]) -> Array:
    """(g - mean g - y·mean(g·y))/deviation, the gradient by x of a standardised y."""
    n = math.prod([y.shape[i] for i in axes])
    inner = g - add_up(g, axes) / n - y * (add_up(g * y, axes) / n)
    return (inner / deviation).astype(y.dtype, copy=False)


def product(a: Array, b: Array) -> Array:
    """a @ b for a (..., m, k), b (..., k, n); leading axes broadcast."""
    return array_module(a).matmul(a, b)


def pad(x: Array, window: Window, value: float = 0.0) -> Array:
    """x inside a frame of `value`; x itself where there is no padding."""
    if not any(window.pads):
        return x
    padded = array_module(x).full((*x.shape[:2], *window.padded), value, x.dtype)
    padded[:, :, *window.inside] = x
    return padded


def _by_group(w: Array, groups: int) -> Array:
    """w (O, C/G, kh, kw) as (G, O/G, C/G, kh, kw)."""
    return w.reshape(groups, w.shape[0] // groups, *w.shape[1:])


def _common(*arrays: Array | None) -> type:
    """The dtype that holds the numbers of all arrays."""
    dtypes = [array.dtype for array in arrays if array is not None]
    return array_module(arrays[0]).result_type(*dtypes)


def cross_entropy(logits: Array, labels: Array) -> tuple[Array, Array]:
    """The mean of -ln softmax at the labels, and its gradient by the logits (N, K).

    At the label the gradient is softmax - 1. It is computed as -Σ of the other classes' softmax,
    because the difference would lose its digits where the label's own softmax is near 1.
    Numbers below the smallest normal one (1.2e-38 in float32) become 0. A processor takes 50 times
    as long for a product with such a number, and a network that is sure of its answers has many.
    """
    xp, n = array_module(logits), len(logits)
    if wide := wider(logits):
        loss, gradient = cross_entropy(logits.astype(wide), labels)
        most = float(np.finfo(logits.dtype).max)
        loss = xp.where(xp.isinf(loss), loss, xp.minimum(loss, most))
        return loss.astype(logits.dtype), gradient.astype(logits.dtype)
    # On a GPU a label may lie outside the classes. The index is kept inside; the loss becomes NaN.
    index = xp.maximum(xp.minimum(labels.astype(np.int64), logits.shape[1] - 1), 0)
    at = xp.arange(n), index
    powers = logits - logits.max(1, keepdims=True)
    picked = powers[at]
    powers = xp.exp(powers)
    total = powers.sum(1, keepdims=True)
    losses = xp.log(total[:, 0]) - picked
    if not is_host(losses):
        losses[index != labels] = float("nan")
    gradient = powers / (total * n)
    gradient[gradient < np.finfo(gradient.dtype).tiny] = 0
    gradient[at] = 0
    gradient[at] = -gradient.sum(1)
    loss = losses.sum() / n
    if is_host(loss) and loss == math.inf and np.isfinite(logits).all():
        loss = np.finfo(loss.dtype).max  # logits of ±3e38 have a loss beyond the range of float32
    return loss, gradient
