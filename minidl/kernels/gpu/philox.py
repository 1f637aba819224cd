"""Dropout's mask, drawn on the GPU: the same numbers as `kernels/philox.py`, in one launch."""

from __future__ import annotations

from ...device import Array, array_module
from .launch import each, launch


def dropout_mask(key: Array, like: Array, p: float) -> Array:
    """1/(1 - p) where a random number is not below p, else 0, for each number of `like`.

    key: the three numbers of `rng.key`, on the GPU.
    """
    mask = array_module(like).empty(like.shape, like.dtype)
    args = (mask, key, float(p), 1 / (1 - p), mask.size)
    launch("philox", "dropout_mask", each(mask.size // 8 + 2), args)
    return mask
