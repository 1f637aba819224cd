"""Operations that end in a scalar: predictions against a target, averaged over all elements."""

import numpy as np

from .. import device, kernels
from ..errors import ConfigError, DataError, DTypeError, ShapeError
from ..modes import is_recording
from ..tensor import ArrayLike, Tensor, as_tensor, record
from .activation import softplus
from .elementwise import abs, where
from .inputs import floating, same_device, same_shape
from .normalize import softmax
from .reduce import mean, sum


def cross_entropy(logits: ArrayLike, labels: ArrayLike) -> Tensor:
    """L = -1/N Σ ln softmax(logits)[label]; dL/dlogits = (softmax - onehot)/N.

    Shapes: logits (N, K), labels (N,) whole numbers in 0..K-1; L is a scalar, in nats.
    Numerics: through log-softmax, finite for any finite logits. At the label the gradient is taken
    as -Σ of the other classes' softmax, which keeps its digits where the label's own is near 1.
    Raises: ShapeError, DTypeError; DataError for a label outside 0..K-1 (on a GPU, where looking
    would wait for the device, L is NaN instead).
    """
    logits, xp = floating(logits)
    targets = as_tensor(labels)
    if logits.ndim != 2 or targets.shape != logits.shape[:1] or logits.size == 0:
        raise ShapeError(
            "cross_entropy: expected logits (N, K) and labels (N,) with N, K >= 1, got "
            f"{logits.shape} and {targets.shape}"
        )
    if targets.dtype.kind not in "iu":
        raise DTypeError(f"cross_entropy: expected integer labels, got dtype {targets.dtype}")
    n, classes = logits.shape
    same_device("cross_entropy", logits, targets)
    if device.is_host(targets.data):
        low, high = targets.data.min(), targets.data.max()
        if low < 0 or high >= classes:
            at = int(np.flatnonzero((targets.data < 0) | (targets.data >= classes))[0])
            raise DataError(
                f"cross_entropy: expected labels in 0..{classes - 1} (logits {logits.shape}), got "
                f"{targets.data[at]} at position {at}; give the model one output per class"
            )

    value, gradient = kernels.cross_entropy(logits.data, targets.data)

    def pullback(g: Tensor, y: Tensor) -> Tensor:
        if not is_recording():
            return Tensor(gradient) * g
        index = xp.clip(targets.data.astype(np.int64), 0, classes - 1)
        onehot = xp.zeros_like(logits.data)
        onehot[xp.arange(n), index] = 1
        others = softmax(logits) * Tensor(1 - onehot)
        return (others - Tensor(onehot) * sum(others, 1, keepdims=True)) * (g * (1 / n))

    return record(value, (logits, pullback))


def mse_loss(prediction: ArrayLike, target: ArrayLike) -> Tensor:
    """L = mean (p - t)²; dL/dp = 2(p - t)/n."""
    p, t = same_shape("mse_loss", prediction, target)
    difference = p - t
    return mean(difference * difference)


def l1_loss(prediction: ArrayLike, target: ArrayLike) -> Tensor:
    """L = mean |p - t|; dL/dp = sign(p - t)/n, 0 where they are equal."""
    p, t = same_shape("l1_loss", prediction, target)
    return mean(abs(p - t))


def huber_loss(prediction: ArrayLike, target: ArrayLike, delta: float = 1.0) -> Tensor:
    """L = mean of d²/2 where |d| <= δ, else δ(|d| - δ/2), d = p - t; dL/dp = clip(d, ±δ)/n.

    Source: Huber 1964. The gradient is bounded by δ/n, whatever the error.
    """
    if not delta > 0:
        raise ConfigError(f"huber_loss: expected delta > 0, got {delta}")
    p, t = same_shape("huber_loss", prediction, target)
    d = p - t
    size = abs(d)
    return mean(where(size.data <= delta, 0.5 * d * d, delta * (size - 0.5 * delta)))


def binary_cross_entropy(logits: ArrayLike, target: ArrayLike) -> Tensor:
    """L = mean of softplus(x) - t·x, x the logits, t in [0, 1]; dL/dx = (sigmoid x - t)/n."""
    x, t = same_shape("binary_cross_entropy", logits, target)
    return mean(softplus(x) - t * x)
