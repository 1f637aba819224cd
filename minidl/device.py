"""NumPy or CuPy: which library an array belongs to, and on which device it lies."""

import ctypes
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np

from . import processes
from .errors import DeviceError, DTypeError

Array: TypeAlias = Any  # a numpy.ndarray or a cupy.ndarray

FLOAT = np.dtype(np.float32)
_HOST = np.ndarray, np.generic


def cupy() -> ModuleType:
    """The cupy module; DeviceError when it is missing or sees no GPU."""
    try:
        import cupy as module
    except ImportError as error:
        raise DeviceError(
            "device 'cuda' needs CuPy, which is not installed: run " + _extra()
        ) from error
    if not module.cuda.is_available():
        raise DeviceError(
            "device 'cuda': CuPy is installed but finds no usable GPU: check `nvidia-smi`, "
            "or use device='cpu'"
        )
    return module


def _extra() -> str:
    """The command that installs CuPy for this machine's driver."""
    try:
        version = ctypes.c_int()
        ctypes.CDLL("libcuda.so.1").cuDriverGetVersion(ctypes.byref(version))
    except (OSError, AttributeError):
        return (
            "`pip install minidl[cuda12]` or `minidl[cuda13]`, by the CUDA version that "
            "`nvidia-smi` shows"
        )
    return f"`pip install minidl[cuda{13 if version.value >= 13000 else 12}]`"


def is_host(array: Any) -> bool:
    """Whether the array lies in the computer's own memory."""
    return isinstance(array, _HOST)


def array_module(array: Array) -> Any:
    """numpy for a NumPy array, cupy for a CuPy array."""
    return np if is_host(array) else cupy()


def device_of(array: Array) -> str:
    """'cpu' or 'cuda'."""
    return "cpu" if is_host(array) else "cuda"


def to_device(array: Array, device: str) -> Array:
    """The array on 'cpu' or 'cuda', copied unless it is there already.

    Raises: DeviceError for another name, for a device that is missing, and while a CUDA graph is
    recorded.
    """
    if device not in ("cpu", "cuda"):
        raise DeviceError(f"device: expected 'cpu' or 'cuda', got {device!r}")
    if device == device_of(array):
        return array
    if _capturing:
        raise DeviceError("to_device: a CUDA graph cannot record a copy to or from the host")
    if device == "cpu":
        return array.get()
    choose_gpu()
    return cupy().asarray(array)


def choose_gpu() -> None:
    """Give each process of a machine its own GPU: let this thread use GPU number `local_rank`."""
    if processes.place()[1] > 1:
        cuda = cupy().cuda
        cuda.Device(processes.local_rank() % cuda.runtime.getDeviceCount()).use()


def to_host(array: Array) -> np.ndarray:
    """The array as a NumPy array."""
    return to_device(array, "cpu")


def read(values: Sequence[Any]) -> list[float]:
    """Scalars as Python floats: from a GPU in one transfer, for which the host waits once."""
    return to_host(gather(values)).tolist()


def gather(values: Sequence[Any]) -> Array:
    """Scalars side by side in one float64 array, on the GPU if one of them is there."""
    there = [v for v in values if not (isinstance(v, float) or is_host(v))]
    if not there:
        return np.fromiter(values, np.float64, len(values))
    # Not by cupy.stack, which copies the arrays' addresses from the host.
    out = array_module(there[0]).empty(len(values), np.float64)
    for i, value in enumerate(values):
        out[i] = value
    return out


def number(value: Any, like: Array, dtype: Any) -> Array:
    """A Python number as an array of shape () where `like` is.

    Raises: DTypeError for a number beyond the range of its type.
    """
    xp = array_module(like)
    try:
        # On a GPU `full` writes the number by a launch, and so copies nothing from the host.
        array = xp.asarray(value, dtype) if is_host(like) else xp.full((), value, dtype)
        if array.dtype.kind != "O":
            return array
    except OverflowError:
        pass
    kept = "integers of 64 bits" if dtype is None else np.dtype(dtype)
    raise DTypeError(f"number: expected one within the range of {kept}, got {value!r:.30}")


_ones: dict[tuple[int, Any], Array] = {}  # by the GPU's number and the type


def one(like: Array) -> Array:
    """A 1 of like's shape and type, where `like` is, for reading alone.

    On a GPU a scalar's 1 is always the same array, so that making it costs no launch, and `times`
    need not multiply by it.
    """
    xp = array_module(like)
    if is_host(like) or like.shape:
        return xp.ones_like(like)
    key = xp.cuda.Device().id, like.dtype
    if key in _ones:
        return _ones[key]
    made = xp.ones_like(like)
    if not _capturing:  # the memory of a CUDA graph is written only when the graph is launched
        _ones[key] = made
    return made


def times(a: Array, g: Array) -> Array:
    """a·g for a scalar g; a itself if g is `one`."""
    return a if any(g is known for known in _ones.values()) else a * g


_capturing = False


@contextmanager
def capturing() -> Iterator[None]:
    """Context in which a CUDA graph is recorded, or work avoids all that a graph cannot record."""
    global _capturing
    _capturing = True
    try:
        yield
    finally:
        _capturing = False


def is_capturing() -> bool:
    """Whether this is inside `capturing`."""
    return _capturing


def erf(x: Array) -> Array:
    """The error function, elementwise: math.erf on the CPU, as NumPy has none; CuPy's on a GPU."""
    if not is_host(x):
        from cupyx.scipy.special import erf as device_erf

        return device_erf(x)
    return np.asarray(np.frompyfunc(math.erf, 1, 1)(x), dtype=x.dtype)
