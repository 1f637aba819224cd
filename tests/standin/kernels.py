"""CUDA kernels on the CPU: their source, compiled as C++, run thread by thread.

The arithmetic of `minidl/kernels/gpu/*.cu` is proven this way without a GPU. `emulate.h` has what
a GPU's threads do together: wait for each other, and read each other's values.
"""

import ctypes
import functools
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from .array import counter, ndarray
from .graph import tape

EMULATE = Path(__file__).with_name("emulate.h")
KERNEL = re.compile(r'extern "C" __global__ void (?:__launch_bounds__\([^)]*\)\s*)?(\w+)\(')
LAUNCHER = """
static void call_{name}() {{ apply({name}); }}
extern "C" int launch_{name}(const unsigned* grid, unsigned block, void** given, unsigned first,
                             bool backwards) {{
    return run_grid(call_{name}, grid, block, given, first, backwards);
}}
"""
STRIDED = {"matmul"}  # kernels that are told the strides of their arrays
COMPILER = shutil.which("g++")
FOLDER = Path(tempfile.gettempdir(), f"minidl-emulated-{os.getuid()}")


class Order:
    """In which order blocks run: from the block `first` on and around, or backwards from there."""

    first, backwards = 0, False


order = Order()


@contextmanager
def ordered(first: int, backwards: bool = False) -> Iterator[None]:
    """Blocks run in another order."""
    order.first, order.backwards = first, backwards
    try:
        yield
    finally:
        order.first, order.backwards = 0, False


class Kernel:
    """A compiled kernel: called with grid, block and arguments, as a RawKernel is."""

    def __init__(self, name: str, function: Any) -> None:
        self.name, self.function = name, function

    def __call__(self, grid: tuple[int, ...], block: tuple[int, ...], args: Any) -> None:
        assert 1 <= len(grid) <= 3 and len(block) == 1 and 0 < block[0] <= 1024
        assert min(grid) > 0 and grid[0] < 1 << 31 and max(grid[1:], default=0) < 1 << 16
        if self.name not in STRIDED:
            assert all(a.flags.c_contiguous for a in args if isinstance(a, ndarray))
        given = [_argument(a) for a in args]
        places = (ctypes.c_void_p * len(given))(*(ctypes.addressof(value) for value in given))
        blocks = (ctypes.c_uint * 3)(*grid, *[1] * (3 - len(grid)))

        # The memory stays as long as `run` does; the arrays of the caller need not.
        kept = [a._array for a in args if isinstance(a, ndarray)], given

        def run(arrays: Any = kept) -> None:
            stuck = self.function(blocks, block[0], places, order.first, order.backwards)
            assert not stuck, f"{self.name}: threads wait forever"

        if tape.work is not None:
            tape.work.append(run)
            tape.names.append(self.name)
        else:
            counter.launched.append(self.name)
            run()


def _argument(a: Any) -> Any:
    """As CuPy passes it: an array by its address, a number in 8 bytes, a struct by value."""
    if isinstance(a, ndarray):
        return ctypes.c_void_p(a.data.ptr)
    if isinstance(a, np.ndarray):
        assert a.shape == (1,), "CuPy takes arrays of the host only with one element"
        return (ctypes.c_char * a.nbytes).from_buffer_copy(a)
    return ctypes.c_longlong(a) if isinstance(a, int) else ctypes.c_double(a)


class RawModule:
    """Stands for cupy.RawModule where there is a C++ compiler."""

    def __init__(self, *, code: str, options: tuple[str, ...] = ()) -> None:
        if COMPILER is None:
            raise RuntimeError("no g++ here to compile the kernels with")
        flags = [o for o in options if o.startswith("-D")]
        launchers = "".join(LAUNCHER.format(name=name) for name in KERNEL.findall(code))
        self.library = _library(EMULATE.read_text() + code + launchers, tuple(flags))

    def get_function(self, name: str) -> Kernel:
        return Kernel(name, getattr(self.library, f"launch_{name}"))


@functools.cache
def _library(source: str, flags: tuple[str, ...]) -> ctypes.CDLL:
    """The compiled source; kept on the disk, as CuPy keeps it."""
    FOLDER.mkdir(mode=0o700, exist_ok=True)
    name = hashlib.sha256("\0".join((source, *flags)).encode()).hexdigest()
    kept = FOLDER / f"{name}.so"
    if not kept.exists():
        with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
            path, library = Path(folder, "kernels.cpp"), Path(folder, "kernels.so")
            path.write_text(source)
            command = [COMPILER, "-std=c++20", "-O1", "-fPIC", "-shared"]
            warnings = ["-Wall", "-Wno-unknown-pragmas"]  # `unroll` is NVIDIA's
            subprocess.run([*command, *warnings, *flags, str(path), "-o", str(library)], check=True)
            library.rename(kept)
    return ctypes.CDLL(str(kept))
