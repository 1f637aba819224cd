"""minidl: deep learning from scratch, and the exploding gradient seen, explained and cured."""

from . import errors
from .errors import MinidlError
from .backend import manual_seed
from .graph import enable_grad, no_grad
from .tensor import Tensor, as_tensor, from_dlpack, tensor
from . import ops
from .functional import grad, hvp, jacobian, jvp, value_and_grad, vjp
from . import data, health, models, nn, optim, testing, train
from .train import History, Trainer, load, save

__version__ = "0.1.0"
