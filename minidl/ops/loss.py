"""Losses: a scalar says how far predictions are from targets, on average.

All but cross_entropy take prediction and target of one shape, average over all n elements, and
raise ShapeError for two shapes: they do not broadcast. The mean of no elements is NaN.
"""

from collections.abc import Callable

import numpy as np

from .. import kernels
from ..checks import class_labels, constant, floating, label_shares, same_shape
from ..device import Array, is_host, times
from ..errors import ConfigError, DataError
from ..kernels.portable import add_up
from ..tensor import ArrayLike, Tensor, record
from .activation import sigmoid, softplus_of
from .elementwise import clip
from .normalize import softmax
from .reduce import sum


def cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    label_smoothing: float = 0.0,
    ignore_index: int | None = None,
) -> Tensor:
    """L = -1/N Σ ln softmax(logits)[label]; dL/dlogits = (softmax - onehot)/N.

    weight: a number for each class; L becomes the mean weighted by the labels' weights.
    label_smoothing: the share of each example that is spread evenly over all K classes.
    ignore_index: a label whose examples do not count.

    With any of these options, as in PyTorch, L = -Σ r·ln softmax(logits) over n and k, and
    dL/dlogits = softmax·Σₖ r - r. The target r[n,k] is s[n,k]·weight[k], divided by the sum of the
    labels' weights. s is the one-hot vector of the label, times 1 - label_smoothing, plus
    label_smoothing/K for every class.

    Shapes: logits (N, K), labels (N,) whole numbers in 0..K-1; L is a scalar, in nats.
    Numerics: ln softmax is computed without softmax, which may underflow. Without options, the
    gradient at the label is computed as minus the sum of the other classes' softmax, because
    softmax - 1 loses its digits where softmax is near 1. On the CPU, without options, a loss beyond
    the range of its type becomes the largest number of the type.
    Raises: ShapeError, DTypeError, and ConfigError for a label_smoothing outside [0, 1]. DataError
    for a label outside 0..K-1. On a GPU labels are not checked, because the host would have to
    wait. Without options, L is NaN there instead.
    """
    logits, xp = floating(logits)
    if weight is not None or label_smoothing or ignore_index is not None:
        r = label_shares("cross_entropy", labels, logits, weight, label_smoothing, ignore_index)
        return _shared_cross_entropy(logits, r)
    targets = class_labels("cross_entropy", labels, logits)
    n, classes = logits.shape
    value, gradient = kernels.cross_entropy(logits.data, targets.data)
    kept = targets.data.copy() if is_host(targets.data) else targets.data  # they may change later

    def by_logits(g: Tensor, y: Tensor) -> Tensor:
        index = xp.clip(kept.astype(np.int64), 0, classes - 1)
        onehot = xp.zeros_like(logits.data)
        onehot[xp.arange(n), index] = 1
        others = softmax(logits) * Tensor(1 - onehot)
        return (others - Tensor(onehot) * sum(others, 1, keepdims=True)) * (g * (1 / n))

    return record(
        value,
        (logits, by_logits),
        name="cross_entropy",
        fast=lambda g, y, needed: [Tensor(times(gradient, g.data))],
    )


def _shared_cross_entropy(logits: Tensor, r: Array) -> Tensor:
    """L = -Σ r·ln softmax(logits), r (N, K) the target of `checks.label_shares`."""
    xp, rows = logits._module, Tensor(r.sum(1, keepdims=True))
    apart = logits.data.astype(r.dtype) - logits.data.max(1, keepdims=True)
    log_p = apart - xp.log(xp.exp(apart).sum(1, keepdims=True))
    back = (logits, lambda g, y: (softmax(logits) * rows - Tensor(r)) * g)
    value = -(r * xp.where(r > 0, log_p, 0)).sum()
    return record(value.astype(logits.dtype), back, name="cross_entropy")


def mse_loss(prediction: ArrayLike, target: ArrayLike) -> Tensor:
    """L = mean (p - t)²; dL/dp = 2(p - t)/n, dL/dt = -dL/dp."""
    p, t = same_shape("mse_loss", prediction, target)
    return _mean_loss("mse_loss", p, t, (p.data - t.data) ** 2, lambda: 2 * (p - t))


def l1_loss(prediction: ArrayLike, target: ArrayLike) -> Tensor:
    """L = mean |p - t|; dL/dp = sign(p - t)/n, 0 where p = t; dL/dt = -dL/dp."""
    p, t = same_shape("l1_loss", prediction, target)
    apart, xp = p.data - t.data, p._module
    return _mean_loss("l1_loss", p, t, xp.abs(apart), lambda: Tensor(xp.sign(apart)))


def huber_loss(prediction: ArrayLike, target: ArrayLike, delta: float = 1.0) -> Tensor:
    """L = mean of d²/2 where |d| <= δ, else δ(|d| - δ/2), d = p - t; dL/dp = clip(d, ±δ)/n.

    The gradient is at most δ/n, however large the error is. dL/dt = -dL/dp.
    Raises: ConfigError unless delta > 0.
    Source: Huber 1964.
    """
    if not (delta := constant("huber_loss", delta=delta)) > 0:
        raise ConfigError(f"huber_loss: expected delta > 0, got {delta}")
    p, t = same_shape("huber_loss", prediction, target)
    apart = p._module.abs(p.data - t.data)
    near = p._module.minimum(apart, delta)  # |d| where d is small, else δ
    value = near * (apart - 0.5 * near)
    return _mean_loss("huber_loss", p, t, value, lambda: clip(p - t, -delta, delta))


def _mean_loss(
    call: str, p: Tensor, t: Tensor, losses: Array, slope: Callable[[], Tensor]
) -> Tensor:
    """The mean of the elements' losses. slope: their derivatives by p; those by t are negative."""
    n = max(p.size, 1)
    return record(
        _average(losses),
        (p, lambda g, y: slope() * (g * (1 / n))),
        (t, lambda g, y: slope() * (g * (-1 / n))),
        name=call,
    )


def _average(losses: Array) -> Array:
    """The mean; NaN where there are none."""
    axes = tuple(range(losses.ndim))
    share = 1 / losses.size if losses.size else float("nan")
    return (add_up(losses, axes).reshape(()) * share).astype(losses.dtype)


def binary_cross_entropy(logits: ArrayLike, target: ArrayLike) -> Tensor:
    """L = mean of t·softplus(-x) + (1 - t)·softplus(x), x the logits, t in [0, 1].

    Gradient: dL/dx = ((1 - t)·sigmoid x - t·sigmoid(-x))/n, dL/dt = -x/n.
    Numerics: the shorter forms, softplus x - t·x and for the gradient sigmoid x - t, are equal on
    paper. They lose their digits where x is large and t is 1: in float32 that gradient is exactly 0
    from x = 17 on. The forms above keep their digits.
    Raises: ShapeError; DataError for a target outside [0, 1] (unchecked on a GPU).
    """
    x, t = same_shape("binary_cross_entropy", logits, target)
    if is_host(t.data) and t.size and not (t.data.min() >= 0 and t.data.max() <= 1):
        raise DataError(
            "binary_cross_entropy: expected targets in [0, 1], got values from "
            f"{t.data.min():.4g} to {t.data.max():.4g}; divide them by their largest value, or use "
            "mse_loss"
        )
    n, xp = max(x.size, 1), x._module
    losses = t.data * softplus_of(-x.data, xp) + (1 - t.data) * softplus_of(x.data, xp)
    return record(
        _average(losses),
        (x, lambda g, y: ((1 - t) * sigmoid(x) - t * sigmoid(-x)) * (g * (1 / n))),
        (t, lambda g, y: x * (g * (-1 / n))),
        name="binary_cross_entropy",
    )
