"""Expect: a loss for each image"""

import numpy as np


def cross_entropy(logits, labels):
    s = logits - logits.max(axis=1, keepdims=True)
    lp = s - s.exp().sum(axis=1, keepdims=True).log()
    return -lp[np.arange(len(labels)), labels]
