"""Exercise 6: find the largest rate at which gradient descent still comes to rest.

`loss` is an exact valley: a function of a tensor `theta` with `count` numbers. Its largest
curvature λ lies in some direction that you do not know. Return 2/λ, to one percent.

`md.hvp(loss, theta, v)` is H·v: how the gradient changes along v. Begin with a random v, replace it
by H·v again and again, and divide it by its length each time so that it does not grow. When v no
longer turns, λ = v·(H·v) for a v of length 1.
"""

from collections.abc import Callable

import numpy as np

import minidl as md


def largest_rate(loss: Callable, count: int) -> float:
    """2/λ, with λ the largest curvature of the loss."""
    raise NotImplementedError
