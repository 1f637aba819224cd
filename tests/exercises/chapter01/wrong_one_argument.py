"""Expect: called with two arguments"""

from minidl import Tensor
from minidl.tensor import record


def square(x: Tensor) -> Tensor:
    return record(x.data**2, (x, lambda g: g * 2 * x), name="square")
