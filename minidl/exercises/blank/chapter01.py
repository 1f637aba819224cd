"""Exercise 1: write `square`, the operation y = x², with its own derivative.

`record(value, (x, pullback), name=...)` makes a tensor that remembers x. The pullback is a function
of g and y. g is the gradient of the loss by y, and y is the tensor itself. It returns the gradient
of the loss by x. The slope of x² is 2x, so that gradient is the slope times g.

`minidl exercise 1` checks the value, the gradient, and the derivative of the gradient.
"""

from minidl import Tensor
from minidl.tensor import record


def square(x: Tensor) -> Tensor:
    """y = x²; dy/dx = 2x. Do not use minidl's own `square` or `**`."""
    raise NotImplementedError
