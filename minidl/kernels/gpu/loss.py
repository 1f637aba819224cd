"""The cross-entropy loss on a GPU, with its gradient in the same launch."""

from __future__ import annotations

from ...device import Array, array_module
from .launch import THREADS, counters, dense, launch

WARP = 32
BLOCK = 1024  # the largest block
TURNS = 4  # what one block does in so many turns is not worth more blocks
BLOCKS = 1024  # enough to occupy every GPU; they share the rows of larger batches


def cross_entropy(logits: Array, labels: Array) -> tuple[Array, Array]:
    """The mean loss (NaN for a label that is no class) and (softmax - onehot)/N.

    A team of threads takes a row. One block of teams does a small batch. Many blocks share a larger
    one, and the last of them adds their losses.
    """
    xp, (rows, classes) = array_module(logits), logits.shape
    targets = labels if labels.dtype == xp.int64 else labels.astype(xp.int64)
    team = min(1 << (classes - 1).bit_length(), WARP)
    threads = BLOCK if rows * team <= TURNS * BLOCK else THREADS
    blocks = 1 if threads == BLOCK else min(-(-rows * team // threads), BLOCKS)
    losses, loss = xp.empty(blocks, logits.dtype), xp.empty((), logits.dtype)
    grad = xp.empty(logits.shape, logits.dtype)
    args = (dense(logits), dense(targets), losses, loss, grad, counters(1), rows, classes)
    launch("loss", "cross_entropy", (blocks,), args, threads=threads, TEAM=team)
    return loss, grad
