"""Which version of a kernel runs: one table.

Find the operation's row in `TABLE`, then the column that fits its arrays. The file named there
computes the result. All versions of an operation have the same name and take the same arguments.
All agree: those of convolution and pooling with the loops of `reference`, the others with the array
code of `portable`, an optimizer's step with its formula, dropout's mask with `philox`.

- Column `cpu`: NumPy arrays, all of float32 or all of float64, none of them empty.
- Column `gpu`: such CuPy arrays, if the CUDA kernels can be compiled and are not switched off
  (MINIDL_CUDA_KERNELS=0).
- Column `other`: float16, mixed types, empty arrays, a GPU without CUDA kernels.

None means that no version does the operation in one piece. The caller then takes several steps.

Infinities and NaN in the arrays give infinities and NaN in the result, without a warning: NumPy's
matrix product does not warn either. A caller who needs finite numbers checks the result.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import rng
from ..device import Array, is_host
from ..modes import switches
from . import cpu, gpu, philox, portable
from .window import NO_TAP, Window

# fmt: off
TABLE: dict[str, tuple[Any, Any, Any]] = {
    #                               cpu             gpu         other
    "convolution":                 (cpu.rows,       gpu.implicit, portable),
    "convolution, few channels":   (cpu.columns,    gpu.convolution, portable),  # kh·C < 16
    "convolution, groups":         (portable,       gpu.convolution, portable),
    "convolution and max-pooling": (cpu.conv_pool,  gpu.convolution, None),      # see `_conv_pool`
    "max-pooling":                 (cpu.pool,       gpu.pool,   portable),  # at most 256 taps
    "max-pooling, large windows":  (portable,       portable,   portable),
    "reading at the maxima":       (portable,       gpu.pool,   portable),
    "average pooling":             (cpu.pool,       gpu.pool,   portable),
    "batch normalisation":         (cpu.batch_norm, gpu.batch_norm, portable),
    "scale and running moments":   (portable,       gpu.batch_norm, portable),
    "batch statistics in one":     (None,           gpu.batch_norm, None),
    "matrix product":              (cpu.product,    gpu.product, portable),
    "dense layer, few outputs":    (None,           gpu.product, None),
    "bias and relu":               (None,           gpu.elementwise, None),
    "cross-entropy":               (portable,       gpu.loss,   portable),
    "gradient of relu":            (None,           gpu.elementwise, None),
    "softmax":                     (portable,       gpu.rows,   portable),  # GPU: last axis
    "standardisation":             (portable,       gpu.rows,   portable),  # GPU: last axes
    "dropout's mask":              (None,           gpu.philox, None),
    "optimizer step":              (cpu.update,     gpu.update, None),
}
# fmt: on

THIN = 16  # a product that sums over fewer terms (kh·C) is not worth its call
ONE_BYTE = 256  # taps that an index of one byte can tell apart; relu takes one of its numbers

Update = tuple[Array, Array, int, list[Array], dict[str, Any]]  # theta, g, t, slots, options

Running = tuple[Array, Array, Array]  # running mean and variance, and the number of batches

_silent = np.errstate(over="ignore", invalid="ignore", under="ignore")


def version(operation: str, first: Array, *others: Array) -> Any:
    """The module whose version of an operation fits these arrays, or None."""
    on_cpu, on_gpu, other = TABLE[operation]
    dtype, host = first.dtype, is_host(first)
    if dtype.char not in "fd" or not first.size:
        return other
    for array in others:
        if array.dtype != dtype or is_host(array) != host or not array.size:
            return other
    if host:
        return on_cpu
    return on_gpu if gpu.launch.compiled(dtype) else other


def _convolution(window: Window, channels: int, groups: int) -> str:
    if groups > 1:
        return "convolution, groups"
    few = window.size[0] * channels < THIN
    return "convolution, few channels" if few else "convolution"


def _given(*arrays: Array | None) -> list[Array]:
    return [array for array in arrays if array is not None]


@_silent
def conv_forward(x: Array, w: Array, b: Array | None, window: Window, groups: int) -> Array:
    """Convolution: x (N, C, H, W), w (O, C/groups, kh, kw), b (O,) or None -> (N, O, OH, OW)."""
    engine = version(_convolution(window, x.shape[1], groups), *_given(x, w, b))
    return engine.conv_forward(x, w, b, window, groups)


@_silent
def conv_input_grad(g: Array, w: Array, window: Window, groups: int) -> Array:
    """The convolution's transpose in x: g (N, O, OH, OW) -> (N, C, H, W)."""
    engine = version(_convolution(window, w.shape[1], groups), g, w)
    return engine.conv_input_grad(g, w, window, groups)


@_silent
def conv_weight_grad(x: Array, g: Array, window: Window, groups: int) -> Array:
    """The convolution's transpose in w: x and g -> (O, C/groups, kh, kw)."""
    engine = version(_convolution(window, x.shape[1], groups), x, g)
    return engine.conv_weight_grad(x, g, window, groups)


def _conv_pool(
    arrays: list[Array], window: Window, channels: int, groups: int, pool: Window
) -> Any:
    """The module that does a convolution and the max-pooling after it in one pass, or None.

    The pooling windows must lie side by side, without dilation. An index of one byte must have room
    for their taps and for NO_TAP. Computing each output right where it is pooled pays only if it
    sums few products: kh·C < 16 on the CPU, kh·kw·C <= 64 on a GPU.
    """
    side_by_side = pool.stride == pool.size and pool.padded == pool.image == window.out
    small = pool.size[0] * pool.size[1] <= NO_TAP and pool.dilation == (1, 1)
    if groups > 1 or not side_by_side or not small:
        return None
    engine = version("convolution and max-pooling", *arrays)
    lines = window.size[0] * channels
    few = lines < THIN if engine is cpu.conv_pool else lines * window.size[1] <= gpu.convolution.FEW
    return engine if few else None


@_silent
def conv_pool(
    x: Array, w: Array, b: Array | None, window: Window, groups: int, pool: Window,
    rectify: bool, indexed: bool = True,
) -> tuple[Array, Array] | None:  # fmt: skip
    """max_pool(conv_forward(x, w, b, window, groups), pool), or its relu where `rectify` is True.

    The index is NO_TAP where relu gives 0. Only a backward pass needs the index. With indexed=False
    it may be missing and must not be used. The result is None if no version does this in one pass.
    """
    engine = _conv_pool(_given(x, w, b), window, x.shape[1], groups, pool)
    return None if engine is None else engine.conv_pool(x, w, b, window, pool, rectify, indexed)


@_silent
def conv_pool_grads(
    x: Array, g: Array, index: Array, window: Window, groups: int, pool: Window
) -> tuple[Array, Array]:
    """The gradients of `conv_pool` by w and b."""
    engine = _conv_pool([x, g], window, x.shape[1], groups, pool)
    if engine is not None and index.dtype == np.uint8:
        grads = engine.conv_pool_grads(x, g, index, window, pool)
        if grads is not None:
            return grads
    wide = max_unpool(g, index, pool)
    by_bias = portable.add_up(wide, (0, 2, 3), keepdims=False).astype(g.dtype, copy=False)
    return conv_weight_grad(x, wide, window, groups), by_bias


@_silent
def max_pool(x: Array, window: Window, rectify: bool = False) -> tuple[Array, Array]:
    """(N, C, H, W) -> the maxima (N, C, OH, OW), and an index for the next two functions.

    The index of a place is i·kw + j for the tap (i, j) that saw the maximum first, in row-major
    order, among the taps that lie on the image. With rectify=True the result is relu of the maxima.
    Where relu gave 0, the index is the largest number of its type, which is no tap's.
    """
    small = window.size[0] * window.size[1] + rectify <= ONE_BYTE
    operation = "max-pooling" if small else "max-pooling, large windows"
    return version(operation, x).max_pool(x, window, rectify)


@_silent
def max_unpool(g: Array, index: Array, window: Window) -> Array:
    """g (N, C, OH, OW) -> (N, C, H, W): each g at the pixel that was the first maximum."""
    operation = "max-pooling" if index.dtype == np.uint8 else "max-pooling, large windows"
    return version(operation, g).max_unpool(g, index, window)


@_silent
def max_take(x: Array, index: Array, window: Window) -> Array:
    """x (N, C, H, W) -> (N, C, OH, OW): x at those pixels; the transpose of `max_unpool`."""
    operation = "reading at the maxima" if index.dtype == np.uint8 else "max-pooling, large windows"
    return version(operation, x).max_take(x, index, window)


@_silent
def avg_pool(x: Array, window: Window) -> Array:
    """(N, C, H, W) -> the means (N, C, OH, OW); the padding's zeros count."""
    return version("average pooling", x).avg_pool(x, window)


@_silent
def avg_unpool(g: Array, window: Window) -> Array:
    """g (N, C, OH, OW) -> (N, C, H, W): each g in equal shares at the pixels of its window."""
    return version("average pooling", g).avg_unpool(g, window)


def values_per_channel(x: Any) -> int:
    """N·H·W of images x (N, C, H, W). If x is a part of a batch, N counts the whole batch."""
    count = x.size // x.shape[1]
    return count if switches.joint is None else switches.joint.count(count)


@_silent
def batch_norm_moments(x: Array) -> tuple[Array, Array]:
    """The mean and variance (C,) of images x (N, C, H, W), or of the batch that x is a part of."""
    own: tuple[Array, Array] = version("batch normalisation", x).batch_norm_moments(x)
    return own if switches.joint is None else switches.joint.moments(*own, x.size // x.shape[1])


@_silent
def batch_norm_statistics(
    x: Array, weight: Array, eps: float, running: Running, momentum: float
) -> tuple[Array, Array, Array, tuple[Array, Array]]:
    """mean, 1/√(var + ε) and weight/√(var + ε) by channel, and the running mean and variance moved.

    running: mean, variance, and the number of batches, to which 1 is added in place. The moments
    move towards those of x: running·(1 - momentum) + momentum·seen, where the seen variance is the
    unbiased one, n/(n - 1)·var. They are in new arrays; while a CUDA graph is recorded, in the
    running ones. If x is a part of a batch, mean, var and n are those of the whole batch.
    """
    arrays = weight, *running[:2]
    engine = version("batch statistics in one", x, *arrays)
    if engine is not None and switches.joint is None:
        found: Any = engine.batch_norm_statistics(x, weight, eps, running, momentum)
        return found
    moments, count = batch_norm_moments(x), values_per_channel(x)
    engine = version("scale and running moments", *moments, *arrays)
    unbiased = count / (count - 1)
    return moments[0], *engine.batch_norm_settle(*moments, weight, eps, running, momentum, unbiased)


@_silent
def batch_norm_affine(
    x: Array, mean: Array, scale: Array, bias: Array, rectify: bool = False
) -> Array:
    """(x - mean)·scale + bias, channel by channel; its relu where `rectify` is True."""
    engine = version("batch normalisation", x, mean, scale, bias)
    return engine.batch_norm_affine(x, mean, scale, bias, rectify)


@_silent
def batch_norm_grads(
    g: Array, x: Array, weight: Array, mean: Array, inverse: Array, bias: Array | None = None
) -> tuple[Array, Array, Array]:
    """dx, dweight, dbias of y = (x - mean)·inverse·weight + bias, with inverse = 1/√(var + ε).

    With `bias`, g is the gradient of relu(y): those g where y is not above 0 count as 0.
    If x is a part of a batch, dweight and dbias are the gradients of this part: the caller adds
    them to those of the other parts, as all gradients. dx takes the sums over the whole batch.
    """
    engine = version("batch normalisation", x, *_given(g, weight, mean, inverse, bias))
    return engine.batch_norm_grads(g, x, weight, mean, inverse, bias, switches.joint)


def product(a: Array, b: Array) -> Array:
    """a @ b for a (..., m, k), b (..., k, n); leading axes broadcast."""
    return version("matrix product", a, b).product(a, b)


def linear(x: Array, w: Array, b: Array | None, rectify: bool) -> Array | None:
    """x @ wᵀ + b, or its relu, in one launch on a GPU, for few rows and outputs; else None."""
    few = x.shape[0] <= gpu.product.ROWS and w.shape[0] <= gpu.product.OUTPUTS
    engine = version("dense layer, few outputs", *_given(x, w, b)) if few else None
    return None if engine is None else engine.linear(x, w, b, rectify)


def bias_relu(y: Array, b: Array) -> Array | None:
    """relu of y + b, in y, for y (rows, out) and b (out,), in one launch on a GPU; else None."""
    engine = version("bias and relu", y, b)
    return None if engine is None else engine.bias_relu(y, b)


@_silent
def cross_entropy(logits: Array, labels: Array) -> tuple[Array, Array]:
    """The mean loss and its gradient by the logits, (softmax - onehot)/N.

    On a GPU a label outside 0..K-1 makes the loss NaN. For an error the host would have to wait for
    the labels.
    """
    return version("cross-entropy", logits).cross_entropy(logits, labels)


def _by_rows(operation: str, axes: tuple[int, ...], x: Array, *others: Array) -> Any:
    """The module for sums along these axes of x; on a GPU the last axes make rows."""
    last = sorted(axes) == list(range(x.ndim - len(axes), x.ndim)) and len(axes) > 0
    return version(operation, x, *others) if last else portable


@_silent
def softmax(x: Array, axis: int) -> Array:
    """eˣ / Σ eˣ along an axis."""
    return _by_rows("softmax", (axis,), x).softmax(x, axis)


@_silent
def softmax_grad(g: Array, y: Array, axis: int) -> Array:
    """The gradient by x of y = softmax x."""
    return _by_rows("softmax", (axis,), g, y).softmax_grad(g, y, axis)


@_silent
def log_softmax(x: Array, axis: int) -> Array:
    """ln softmax x along an axis."""
    return _by_rows("softmax", (axis,), x).log_softmax(x, axis)


@_silent
def log_softmax_grad(g: Array, y: Array, axis: int) -> Array:
    """The gradient by x of y = ln softmax x."""
    return _by_rows("softmax", (axis,), g, y).log_softmax_grad(g, y, axis)


@_silent
def standardize(x: Array, axes: tuple[int, ...], eps: float) -> tuple[Array, Array]:
    """(x - mean)/√(variance + ε) along axes, and the divisor."""
    return _by_rows("standardisation", axes, x).standardize(x, axes, eps)


@_silent
def standardize_grad(g: Array, y: Array, deviation: Array, axes: tuple[int, ...]) -> Array:
    """The gradient by x of a standardised y."""
    engine = _by_rows("standardisation", axes, g, y, deviation)
    return engine.standardize_grad(g, y, deviation, axes)


def keep_positive(g: Array, y: Array) -> Array | None:
    """g where y > 0, else 0, in one launch on a GPU; None elsewhere."""
    engine = version("gradient of relu", g, y) if g.shape == y.shape else None
    return None if engine is None else engine.keep_positive(g, y)


def dropout_mask(like: Array, p: float) -> Array:
    """1/(1 - p) where a new random number is not below p, else 0, for each number of `like`.

    A kernel of the GPU draws the mask itself, and needs the key alone.
    """
    engine = version("dropout's mask", like)
    if engine is not None:
        found: Array = engine.dropout_mask(rng.from_key(lambda key: key, like), like, p)
        return found
    shape, dtype = like.shape, like.dtype  # what draws anew for each step must not hold `like`
    return rng.from_key(lambda key: philox.dropout_mask(key, shape, dtype, p), like)


def update(rule: str, steps: list[Update]) -> list[Update]:
    """Take the optimizer steps that have a fast version, in place; return the other steps.

    rule: "sgd", "rmsprop" or "adam", or "" for a rule without a fast version. Each formula stands
    in `optim/rules.py`.
    """
    if not rule:
        return steps
    together: dict[Any, list[Update]] = {}
    left = []
    for step in steps:
        theta, g, _, slots, _ = step
        arrays = theta, g, *slots
        engine = version("optimizer step", *arrays)
        if engine is None or (
            engine is gpu.update and not all(a.flags.c_contiguous for a in arrays)
        ):
            left.append(step)
        else:
            together.setdefault((engine, theta.dtype), []).append(step)
    for (engine, _), alike in together.items():
        engine.update(rule, alike)
    return left
