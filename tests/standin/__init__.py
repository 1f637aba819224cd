"""A module that passes for CuPy on a machine without a GPU, and is stricter than CuPy is.

It has only the names and keyword arguments that every supported CuPy has (`names.json`, made by
`tools/cupy_names.py`), never mixes arrays of host and device, refuses implicit conversions,
fills `empty` with NaN, and counts launches and the times the host would wait. `install()` puts
it where `import cupy` finds it.
"""

import functools
import math
import sys
import types
from typing import Any

import numpy as np

from .array import MODULE, UFUNCS, check_arguments, compute, counter, ndarray, poisoned
from .graph import Event, MemoryPool, Stream, copy_memory, tape, using_allocator
from .kernels import RawModule

# Functions that may be given lists, arrays of the host, or no array at all.
CREATION = {
    *("array", "asarray", "empty", "zeros", "ones", "full", "arange", "eye", "linspace", "indices"),
    *("tri", "result_type", "can_cast", "finfo", "iinfo", "dtype", "min_scalar_type", "identity"),
}
WAITING = {"nonzero", "flatnonzero", "argwhere", "bincount", "unique", "array_equal", "allclose"}
_scatter = {"add", "subtract", "maximum", "minimum"}
_reduced = {"add", "multiply"}


class Ufunc:
    """A ufunc: keywords out, dtype, casting; `at` and `reduce` where CuPy has them."""

    def __init__(self, name: str) -> None:
        self.name = self.__name__ = name
        self._f = getattr(np, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        check_arguments(self.name, MODULE[self.name], kwargs)
        if any(isinstance(a, list | tuple) for a in args):
            raise TypeError(f"cupy.{self.name}: unsupported type {list}")
        return compute(self.name, self._f, args, kwargs)

    def at(self, a: ndarray, index: Any, b: Any) -> None:
        """Unbuffered in-place update, for four ufuncs."""
        if self.name not in _scatter:
            raise NotImplementedError(f"cupy.{self.name}.at")
        compute(f"{self.name}.at", self._f.at, (a, index, b), {})

    def reduce(self, *args: Any, **kwargs: Any) -> Any:
        """A reduction, for two ufuncs."""
        if self.name not in _reduced:
            raise NotImplementedError(f"cupy.{self.name}.reduce")
        return compute(f"{self.name}.reduce", self._f.reduce, args, kwargs)


def _function(name: str) -> Any:
    f, allowed = getattr(np, name), MODULE[name]

    def function(*args: Any, **kwargs: Any) -> Any:
        check_arguments(name, allowed, kwargs)
        if name not in CREATION and args and isinstance(args[0], list) and not _has_device(args):
            raise TypeError(f"cupy.{name}: unsupported type {list}")
        if name == "clip" and (len(args) < 3 or None in args[1:3]) and len(kwargs) < 2:
            raise TypeError("cupy.clip: expected both bounds")
        if name in WAITING:
            counter.wait(name)
        return compute(name, f, args, kwargs)

    function.__name__ = name
    return function


def _has_device(args: Any) -> bool:
    return any(
        isinstance(a, ndarray) or (isinstance(a, list | tuple) and _has_device(a)) for a in args
    )


def _asarray(x: Any, dtype: Any = None, order: Any = None) -> ndarray:
    """The way in: lists, numbers and arrays of the host are copied to the device."""
    if isinstance(x, ndarray):
        return compute("asarray", np.asarray, (x,), {"dtype": dtype, "order": order})
    if isinstance(x, list | tuple) and _has_device(x):
        raise TypeError("cupy.asarray: a list of device arrays: use stack")
    tape.refuse("asarray")
    return ndarray(np.array(x, dtype=dtype, order=order))


def _array(x: Any, dtype: Any = None, copy: bool = True, order: str = "K") -> ndarray:
    if isinstance(x, ndarray):
        return compute("array", np.array, (x,), {"dtype": dtype, "copy": copy, "order": order})
    return _asarray(x, dtype)


def _empty(shape: Any, dtype: Any = float, order: str = "C") -> ndarray:
    return ndarray(poisoned(np.empty(shape, dtype, order)))


def _empty_like(a: ndarray, dtype: Any = None, order: str = "K", shape: Any = None) -> ndarray:
    return ndarray(poisoned(np.empty_like(a._array, dtype, order, shape=shape)))


def _from_dlpack(source: Any) -> ndarray:
    if not isinstance(source, ndarray):
        raise TypeError("cupy.from_dlpack: the array does not lie on a GPU")
    return ndarray(source._array)


def _asnumpy(x: Any) -> np.ndarray:
    return x.get()


def _erf(x: ndarray) -> ndarray:
    return compute("erf", lambda a: np.asarray(np.frompyfunc(math.erf, 1, 1)(a), a.dtype), (x,), {})


class OutOfMemoryError(MemoryError):
    """What CuPy raises where the device's memory does not hold an array."""


def _build() -> types.ModuleType:
    module: Any = types.ModuleType("cupy")
    for name, allowed in MODULE.items():
        value = getattr(np, name, None)
        if value is None:  # a later NumPy has dropped it: minidl cannot use it either
            continue
        if name in UFUNCS:
            setattr(module, name, Ufunc(name))
        elif allowed is not None:
            setattr(module, name, _function(name))
        elif name != "ufunc":
            setattr(module, name, value)
    module.ndarray, module.asarray, module.array = ndarray, _asarray, _array
    module.empty, module.empty_like, module.from_dlpack = _empty, _empty_like, _from_dlpack
    module.asnumpy, module.RawModule = _asnumpy, RawModule
    module.__version__ = "13 and 14, by a stand-in"
    cuda: Any = types.ModuleType("cupy.cuda")
    cuda.is_available = lambda: True
    Stream.count = counter.launched.append
    cuda.Stream, cuda.MemoryPool, cuda.using_allocator = Stream, MemoryPool, using_allocator
    cuda.Event, default = Event, Stream(null=True)
    cuda.get_current_stream = lambda: default
    cuda.alloc_pinned_memory = lambda size: np.empty(size, np.uint8)
    cuda.runtime = types.SimpleNamespace(memcpyAsync=copy_memory)
    cuda.memory = types.SimpleNamespace(OutOfMemoryError=OutOfMemoryError)
    module.cuda = cuda
    pool = types.SimpleNamespace(free_all_blocks=lambda: None, total_bytes=lambda: 0)
    module.get_default_memory_pool = lambda: pool
    wait = functools.partial(counter.wait, "synchronize")
    cuda.Device = lambda: types.SimpleNamespace(synchronize=wait, id=0)
    return module


module = _build()
_special: Any = types.ModuleType("cupyx.scipy.special")
_special.erf = _erf


def install() -> types.ModuleType:
    """Make `import cupy` find the stand-in."""
    sys.modules |= {
        "cupy": module,
        "cupyx": types.ModuleType("cupyx"),
        "cupyx.scipy": types.ModuleType("cupyx.scipy"),
        "cupyx.scipy.special": _special,
    }
    return module
