"""Expect: `reshape` sums nothing"""


def undo_broadcast(g, shape):
    extra = g.ndim - len(shape)
    return g.sum(axis=tuple(range(extra))).reshape(shape)
