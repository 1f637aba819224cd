"""Compiling and launching: the CUDA sources of this folder become functions that Python can call.

A GPU runs a kernel, a C function, in thousands of threads. Each thread asks `blockIdx` and
`threadIdx` which element is its own. NVIDIA's compiler is called by CuPy, the first time that a
kernel is needed for a type; CuPy keeps the result on the disk for the next time.

A kernel can also be compiled for constants: `launch("few", ..., TAPS_H=3, TAPS_W=3)`. The compiler
then knows how often each loop runs, and can unroll it and keep its arrays in registers. There is
one compilation for each set of constants, so only numbers that decide about loops belong there.
"""

from __future__ import annotations

import functools
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from ...device import Array, array_module, cupy, is_capturing
from ..window import Window

THREADS = 256  # in a block; a multiple of the warp's 32
LARGE = 1 << 30  # from so many elements on, an array's indices have 64 bits: int could overflow
COUNTERS = 4096  # as many as most launches need
GROUP = 16  # as in common.cu
REALS = {"f": "float", "d": "double"}


def source(file: str) -> str:
    """The CUDA source of a file, with what all kernels share before it."""
    folder = Path(__file__).parent
    return "\n".join(
        (folder / f"{name}.cu").read_text(encoding="utf-8") for name in ("common", file)
    )


def options(char: str, wide: bool, constants: tuple[tuple[str, int], ...] = ()) -> tuple[str, ...]:
    """The compiler's options for a type, the width of indices, and constants."""
    index = "long long" if wide else "int"
    named = {"REAL": REALS[char], "INDEX": index, **dict(constants)}
    return "-std=c++17", *(f"-D{name}={value}" for name, value in named.items())


_counters: dict[Any, Array] = {}  # by the GPU's number and the stream


@functools.cache
def _module(file: str, char: str, wide: bool, constants: tuple[tuple[str, int], ...]) -> Any:
    return cupy().RawModule(code=source(file), options=options(char, wide, constants))


@functools.cache
def _kernel(
    file: str, name: str, char: str, wide: bool, constants: tuple[tuple[str, int], ...]
) -> Any:
    return _module(file, char, wide, constants).get_function(name)


@functools.cache
def usable() -> bool:
    """Whether there are CUDA kernels.

    Not if MINIDL_CUDA_KERNELS=0; nor, with a warning, if they cannot be compiled.
    """
    if os.environ.get("MINIDL_CUDA_KERNELS", "1") == "0":
        return False
    try:
        _kernel("elementwise", "keep_positive", "f", False, ())
    except Exception as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        warnings.warn(f"minidl: no CUDA kernels, array code instead: {first}", stacklevel=2)
        return False
    return True


def compiled(dtype: np.dtype) -> bool:
    """Whether there are kernels for this type: float32 or float64, on a GPU that has them."""
    return dtype.char in REALS and usable()


def launch(
    file: str, name: str, grid: tuple[int, ...], args: tuple[Any, ...], *,
    like: Array | None = None, threads: int = THREADS, **constants: int,
) -> None:  # fmt: skip
    """Run a kernel: `grid` blocks of `threads` threads.

    args: arrays, Python numbers, and a `Window`, which the kernel gets as its Geometry.
    like: an array of the kernel's type; the first of args by default.
    """
    wide = any(_reach(a) >= LARGE for a in args)
    given = tuple(geometry(a, wide) if isinstance(a, Window) else a for a in args)
    char = (args[0] if like is None else like).dtype.char
    _kernel(file, name, char, wide, tuple(constants.items()))(grid, (threads,), given)


def load(file: str, name: str, like: Array, **constants: int) -> None:
    """Compile and load a kernel for like's type: a graph that is recorded could not do that."""
    _kernel(file, name, like.dtype.char, False, tuple(constants.items()))


def counters(count: int) -> Array:
    """`count` unsigned numbers that are 0, by which blocks count each other (`is_last`, common.cu).

    Each kernel leaves zeros behind. Launches in one stream come one after the other, so they share
    the numbers. To fill new ones with zeros would be a launch of its own.
    """
    xp = cupy()
    key = xp.cuda.Device().id, xp.cuda.get_current_stream().ptr
    kept = _counters.get(key)
    if kept is None or kept.size < count:
        kept = xp.zeros(max(count, COUNTERS), xp.uint32)
        if not is_capturing():  # what a graph makes is part of that graph alone
            _counters[key] = kept
    return kept


def for_parts(parts: int) -> int:
    """How many counters `add_parts` of common.cu needs to add up so many parts."""
    return 1 + -(-parts // GROUP)


def _reach(arg: Any) -> float:
    """How large an index can become by this argument."""
    return 0 if isinstance(arg, Window | float) else getattr(arg, "size", arg)


def each(count: int) -> tuple[int]:
    """The grid with a thread for each of `count` elements."""
    return (-(-count // THREADS),)


@functools.lru_cache(1024)
def geometry(window: Window, wide: bool = False) -> np.ndarray:
    """The window as the kernels' struct Geometry, which CuPy passes by value."""
    top, _, left, _ = window.pads
    numbers = (
        *window.image,
        *window.out,
        *window.size,
        *window.stride,
        *window.dilation,
        top,
        left,
    )
    struct = np.zeros(1, [("", np.int64 if wide else np.int32, len(numbers))])
    struct[0] = (numbers,)
    return struct


def dense(array: Array) -> Array:
    """The array, copied unless it is contiguous."""
    return array_module(array).ascontiguousarray(array)
