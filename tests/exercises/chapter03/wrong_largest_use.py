"""Expect: keep the largest of the uses"""


def undo_broadcast(g, shape):
    while g.ndim > len(shape):
        g = g.max(0)
    for a, n in enumerate(shape):
        if n == 1:
            g = g.max(a, keepdims=True)
    return g
