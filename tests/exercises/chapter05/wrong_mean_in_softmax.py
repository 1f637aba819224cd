"""Expect: divide by the mean"""

import numpy as np


def cross_entropy(logits, labels):
    s = logits - logits.max(axis=1, keepdims=True)
    lp = s - s.exp().mean(axis=1, keepdims=True).log()
    return -lp[np.arange(len(labels)), labels].mean()
