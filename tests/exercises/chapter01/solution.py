"""The pullback multiplies the gradient that arrives by the slope, in tensor operations."""

from minidl import Tensor
from minidl.tensor import record


def square(x: Tensor) -> Tensor:
    return record(x.data * x.data, (x, lambda g, y: g * 2 * x), name="square")
