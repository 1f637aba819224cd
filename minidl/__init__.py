"""minidl: deep learning from scratch, and the exploding gradient seen, explained and cured."""

from typing import TYPE_CHECKING, Any

from . import errors, memory, processes
from .errors import MinidlError
from .habits import TOP, missing
from .rng import manual_seed
from .modes import enable_grad, no_grad
from .tensor import Tensor, as_tensor, from_dlpack, tensor
from .create import arange, full, ones, rand, randn, zeros
from . import ops, numpy_functions
from .functional import grad, hvp, jacobian, jvp, value_and_grad, vjp
from . import nn, optim
from .kernels.cpu.threads import get_threads, set_threads

memory.start_up()
processes.watch()

__version__ = "0.1.0"

if TYPE_CHECKING:
    from . import data, health, models, plot, testing, train
    from .export import export_onnx
    from .scope import scope
    from .search import search
    from .train import History, Trainer, load, save

_LATER = (  # loaded when first used; `scope` and `search` are packages that can be called
    *("data", "graph", "health", "models", "plot", "scope", "search", "testing", "train"),
)
_FROM = {"export_onnx": "export"} | dict.fromkeys(("History", "Trainer", "load", "save"), "train")


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in _LATER:
        return import_module(f".{name}", __name__)
    if name in _FROM:
        return getattr(import_module(f".{_FROM[name]}", __name__), name)
    missing("minidl", name, TOP)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER, *_FROM})
