"""Expect: subtract the largest score"""

import numpy as np

from minidl import Tensor


def cross_entropy(logits: Tensor, labels: np.ndarray) -> Tensor:
    p = logits.exp() / logits.exp().sum(axis=1, keepdims=True)
    return -p[np.arange(len(labels)), labels].log().mean()
