"""minidl: deep learning from scratch, and the exploding gradient seen, explained and cured."""

from .errors import MinidlError
from .backend import manual_seed
from .graph import enable_grad, grad, hvp, jacobian, jvp, no_grad, value_and_grad, vjp
from .tensor import Tensor, as_tensor, from_dlpack, tensor
from . import ops

__version__ = "0.1.0"
