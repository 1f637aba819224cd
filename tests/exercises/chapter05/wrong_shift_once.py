"""Expect: but not from s"""

import numpy as np


def cross_entropy(logits, labels):
    m = logits.max(axis=1, keepdims=True)
    s = logits - m
    lp = logits - s.exp().sum(axis=1, keepdims=True).log()
    return -lp[np.arange(len(labels)), labels].mean()
