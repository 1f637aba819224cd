"""Expect: does not remember the scores"""

import numpy as np

import minidl as md


def cross_entropy(logits, labels):
    s = logits.numpy() - logits.numpy().max(axis=1, keepdims=True)
    lp = s - np.log(np.exp(s).sum(axis=1, keepdims=True))
    return md.tensor(-lp[np.arange(len(labels)), labels].mean())
