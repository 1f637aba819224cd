"""The cross-entropy loss on a GPU, with its gradient in the same launch."""

from __future__ import annotations

from ...device import Array, array_module
from .launch import dense, launch


def cross_entropy(logits: Array, labels: Array) -> tuple[Array, Array]:
    """The mean loss (NaN for a label that is no class) and (softmax - onehot)/N, in one launch."""
    xp = array_module(logits)
    loss, grad = xp.empty((), logits.dtype), xp.empty(logits.shape, logits.dtype)
    targets = labels if labels.dtype == xp.int64 else labels.astype(xp.int64)
    args = (dense(logits), dense(targets), loss, grad, *logits.shape)
    launch("loss", "cross_entropy", (1,), args)
    return loss, grad
