"""The operations, each a value beside its derivative, and the operators of Tensor.

The files are divided by what happens to the shape: `elementwise` and `activation` (it stays),
`reduce` (axes vanish), `shape` (the same values move), `contract` (products are summed), `window`
(a window slides over images), `normalize` (values are rescaled along axes), `loss` (a scalar
compares predictions with targets).

In every docstring g is dL/dy: the gradient of the loss L by the operation's output y.
"""

import inspect
from typing import Any

from .. import compare
from ..compare import argmax, argmin
from ..habits import OPERATIONS, explained, missing
from ..operators import METHODS
from ..tensor import Tensor
from . import activation, contract, elementwise, loss, normalize, reduce, shape, window

# fmt: off
from .activation import (
    elu, gelu, leaky_relu, log_sigmoid, logaddexp, relu, selu, sigmoid, silu, softplus,
)
from .contract import einsum, linear, matmul, outer, tensordot
from .elementwise import (
    abs, add, arccos, arcsin, arctan, clip, cos, cosh, divide, erf, exp, expm1, log, log1p,
    maximum, minimum, multiply, negative, power, reciprocal, sin, sinh, sqrt, square, subtract,
    tan, tanh, where,
)
from .loss import binary_cross_entropy, cross_entropy, huber_loss, l1_loss, mse_loss
from .normalize import log_softmax, softmax, standardize
from .reduce import cumsum, logsumexp, max, mean, min, norm, std, sum, var
from .shape import (
    astype, broadcast_to, concatenate, expand_dims, flatten, flip, getitem, moveaxis, pad,
    reshape, roll, squeeze, stack, swapaxes, transpose, tril, triu,
)
from .window import avg_pool2d, conv2d, conv_transpose2d, global_avg_pool2d, max_pool2d
# fmt: on


_GROUPS = (elementwise, activation, reduce, shape, contract, window, normalize, loss)
__all__ = [
    name
    for name, value in list(globals().items())
    if any(getattr(value, "__module__", None) == group.__name__ for group in _GROUPS)
]


def _attach() -> None:
    for name in METHODS:
        if "axis" in inspect.signature(globals()[name]).parameters:
            globals()[name] = explained(globals()[name])
        setattr(Tensor, name, globals()[name])

    forward: dict[str, Any] = {"add": add, "sub": subtract, "mul": multiply, "truediv": divide}
    forward |= {"pow": power, "matmul": matmul}
    for name, op in forward.items():
        setattr(Tensor, f"__{name}__", op)
        setattr(Tensor, f"__r{name}__", lambda self, other, op=op: op(other, self))
    T: Any = Tensor
    T.__neg__, T.__abs__, T.__getitem__, T.__invert__ = negative, abs, getitem, compare.invert
    T.stack = staticmethod(stack)
    T.T = property(transpose, doc="The axes in reverse order.")
    T.mT = property(lambda self: swapaxes(self, -1, -2), doc="The last two axes exchanged.")
    for symbol in ("lt", "le", "gt", "ge", "eq", "ne", "and", "or", "xor"):
        setattr(T, f"__{symbol}__", compare.comparison(f"__{symbol}__"))


def __getattr__(name: str) -> Any:
    missing("minidl.ops", name, OPERATIONS)


# A method takes `axis` and `keepdims` as NumPy does: x.sum((0, 1)), x.reshape(2, 3).
_attach()
