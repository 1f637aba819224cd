"""The operators and methods of Tensor, declared for type checkers and editors.

`ops` attaches them when it is imported. Each is the operation of the same name, and the tensor is
the operation's first argument.
"""

from typing import TYPE_CHECKING

from .notebook import TensorHtml

if TYPE_CHECKING:
    from . import compare as _q
    from .ops import activation as _a
    from .ops import contract as _c
    from .ops import elementwise as _e
    from .ops import normalize as _n
    from .ops import reduce as _r
    from .ops import shape as _s
    from .tensor import Tensor

# The methods that are named after their operations.
METHODS = (
    *("exp", "log", "sqrt", "square", "abs", "clip", "relu", "tanh", "sigmoid", "softmax"),
    *("log_softmax", "sum", "mean", "max", "min", "var", "std", "cumsum", "logsumexp", "norm"),
    *("reshape", "transpose", "swapaxes", "moveaxis", "flatten", "squeeze", "pad", "flip"),
    *("expand_dims", "broadcast_to", "astype", "argmax", "argmin"),
)


class Operators(TensorHtml):
    """The operators and methods of a tensor that are operations of `ops`."""

    __slots__ = ()

    if TYPE_CHECKING:
        __add__, __sub__, __mul__, __truediv__ = _e.add, _e.subtract, _e.multiply, _e.divide
        __radd__, __rsub__, __rmul__, __rtruediv__ = _e.add, _e.subtract, _e.multiply, _e.divide
        __pow__, __rpow__, __matmul__, __rmatmul__ = _e.power, _e.power, _c.matmul, _c.matmul
        __neg__, __abs__, __getitem__ = _e.negative, _e.abs, _s.getitem
        __lt__ = __le__ = __gt__ = __ge__ = _e.subtract
        sum, mean, max, min, var, std = _r.sum, _r.mean, _r.max, _r.min, _r.var, _r.std
        cumsum, logsumexp, norm = _r.cumsum, _r.logsumexp, _r.norm
        reshape, transpose, swapaxes, moveaxis = _s.reshape, _s.transpose, _s.swapaxes, _s.moveaxis
        flatten, squeeze, expand_dims, stack = _s.flatten, _s.squeeze, _s.expand_dims, _s.stack
        pad, flip, broadcast_to, astype = _s.pad, _s.flip, _s.broadcast_to, _s.astype
        exp, log, sqrt, square, abs, clip = _e.exp, _e.log, _e.sqrt, _e.square, _e.abs, _e.clip
        relu, tanh, sigmoid = _a.relu, _e.tanh, _a.sigmoid
        argmax, argmin = _q.argmax, _q.argmin
        __and__ = __or__ = __xor__ = _e.subtract
        __invert__ = _q.invert
        softmax, log_softmax = _n.softmax, _n.log_softmax

        @property
        def T(self) -> "Tensor": ...  # the axes in reverse order
        @property
        def mT(self) -> "Tensor": ...  # the last two axes exchanged
