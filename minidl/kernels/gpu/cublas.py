"""Matrix products by cuBLAS in a CUDA graph.

`cupy.matmul` refuses to be recorded in a graph, but cuBLAS itself can be: its C functions are
called here by ctypes, in the library that CuPy has loaded. For that it is told the stream that
records. It also gets a workspace that lives as long as the graphs, because it could not ask for
memory while a stream records.

cuBLAS counts along columns first. The bytes of our row-major C (m, n) are those of its
column-major Cᵀ (n, m), and Cᵀ = Bᵀ·Aᵀ: so it gets B first, then A, and no matrix is copied.
"""

from __future__ import annotations

import ctypes
import functools
import os
from pathlib import Path
from typing import Any

from ...device import Array, cupy

WORKSPACE = 32 << 20  # bytes; the size that NVIDIA recommends for Hopper
TF32 = 3  # cublasMath_t: float32 products on tensor cores, with 10 bits of mantissa
GEMM: dict[str, tuple[str, Any]] = {
    "f": ("cublasSgemm", ctypes.c_float),
    "d": ("cublasDgemm", ctypes.c_double),
}


class Cublas:
    """A handle of cuBLAS with a workspace, for products that a graph records."""

    def __init__(self, library: Any) -> None:
        self._library, self._handle = library, ctypes.c_void_p()
        self._call("cublasCreate_v2", ctypes.byref(self._handle))
        if os.environ.get("CUPY_TF32") == "1":
            self._call("cublasSetMathMode", self._handle, TF32)
        self._workspace = cupy().empty(WORKSPACE, "u1")

    def _call(self, name: str, *args: Any) -> None:
        status = getattr(self._library, name)(*args)
        if status:
            raise RuntimeError(f"cuBLAS: {name} failed with status {status}")

    def use(self, stream: int) -> None:
        """Give the next products to this stream; a new stream loses the workspace, so set it."""
        self._call("cublasSetStream_v2", self._handle, ctypes.c_void_p(stream))
        place = ctypes.c_void_p(self._workspace.data.ptr)
        self._call("cublasSetWorkspace_v2", self._handle, place, ctypes.c_size_t(WORKSPACE))

    def multiply(self, a: Array, b: Array, c: Array) -> bool:
        """c = a @ b for a (count, m, k), b (count, k, n), c (count, m, n); False if it cannot.

        It cannot where neither rows nor columns of a matrix are continuous in memory.
        """
        first, second = _layout(b), _layout(a)
        if first is None or second is None:
            return False
        name, real = GEMM[c.dtype.char]
        one, zero = ctypes.byref(real(1)), ctypes.byref(real(0))
        count, m, n = c.shape
        shape = first[0], second[0], n, m, a.shape[2], one
        left, right, out = _matrix(b, first[1]), _matrix(a, second[1]), _matrix(c, n)
        if count == 1:  # this function may cut k into pieces, which few rows and columns need
            args = *shape, *left[:2], *right[:2], zero, *out[:2]
            self._call(f"{name}_v2", self._handle, *args)
        else:
            every = *shape, *left, *right, zero, *out, count
            self._call(f"{name}StridedBatched", self._handle, *every)
        return True


def _layout(x: Array) -> tuple[int, int] | None:
    """(1 if cuBLAS shall transpose x, else 0; the distance of its lines in elements), or None."""
    height, width = x.shape[1:]
    down, across = (step // x.itemsize for step in x.strides[1:])
    if (across == 1 or width == 1) and (down >= width or height == 1):
        return 0, max(down, width)
    if (down == 1 or height == 1) and (across >= height or width == 1):
        return 1, max(across, height)
    return None


def _matrix(x: Array, apart: int) -> tuple[Any, int, Any]:
    """The arguments for matrices: address, distance of lines, distance of the next matrix."""
    return ctypes.c_void_p(x.data.ptr), apart, ctypes.c_longlong(x.strides[0] // x.itemsize)


@functools.cache
def library() -> Any:
    """cuBLAS as CuPy has loaded it, or None where it is not found."""
    try:
        xp = cupy()
        xp.matmul(xp.ones((2, 2), "f"), xp.ones((2, 2), "f"))  # now it is loaded
        for line in Path("/proc/self/maps").read_text().splitlines():
            path = line.split()[-1]
            if Path(path).name.startswith("libcublas.so"):
                return ctypes.CDLL(path)
    except (OSError, RuntimeError):  # another system, another CuPy: our own kernel multiplies then
        return None
    return None


_handles: dict[int, Cublas | None] = {}  # by the GPU's number


def prepare(stream: int) -> None:
    """Make products ready to be recorded by this stream, before it records."""
    number = cupy().cuda.Device().id
    if number not in _handles:
        found = library()
        _handles[number] = None if found is None else Cublas(found)
    blas = _handles[number]
    if blas is not None:
        blas.use(stream)


def recorder() -> Cublas | None:
    """The handle that `prepare` made for this GPU, if there is one."""
    return _handles.get(cupy().cuda.Device().id)
