"""cuBLAS for the stand-in: a library whose functions take what the C functions take.

Matrices lie column after column, at addresses, as cuBLAS reads them.
"""

import ctypes
from typing import Any

import numpy as np

from .array import counter
from .graph import tape


class Library:
    """The functions that minidl calls; each returns the status 0."""

    def __init__(self) -> None:
        self.stream: Any = None
        self.math_mode = 0
        self.has_workspace = False

    def cublasCreate_v2(self, handle: Any) -> int:
        tape.refuse("cublasCreate")
        handle._obj.value = 1
        return 0

    def cublasSetMathMode(self, handle: Any, mode: int) -> int:
        self.math_mode = mode
        return 0

    def cublasSetStream_v2(self, handle: Any, stream: Any) -> int:
        self.stream, self.has_workspace = stream.value, False
        return 0

    def cublasSetWorkspace_v2(self, handle: Any, place: Any, size: Any) -> int:
        self.has_workspace = size.value > 0
        return 0

    def cublasSgemm_v2(self, *args: Any) -> int:
        return self._multiply(ctypes.c_float, np.float32, *_as_batch(args))

    def cublasDgemm_v2(self, *args: Any) -> int:
        return self._multiply(ctypes.c_double, np.float64, *_as_batch(args))

    def cublasSgemmStridedBatched(self, *args: Any) -> int:
        return self._multiply(ctypes.c_float, np.float32, *args)

    def cublasDgemmStridedBatched(self, *args: Any) -> int:
        return self._multiply(ctypes.c_double, np.float64, *args)

    def _multiply(
        self, real: Any, dtype: Any, handle: Any, turn_a: int, turn_b: int, m: int, n: int, k: int,
        alpha: Any, a: Any, lda: int, apart_a: Any, b: Any, ldb: int, apart_b: Any,
        beta: Any, c: Any, ldc: int, apart_c: Any, count: int,
    ) -> int:  # fmt: skip
        """C = op(A) op(B), m rows and n columns, `count` times."""
        assert alpha._obj.value == 1 and beta._obj.value == 0 and type(alpha._obj) is real
        assert lda >= (k if turn_a else m) and ldb >= (n if turn_b else k) and ldc >= m
        assert self.has_workspace or tape.work is None

        def run() -> None:
            for i in range(count):
                left = _columns(a, i * apart_a.value, *((k, m) if turn_a else (m, k)), lda, dtype)
                right = _columns(b, i * apart_b.value, *((n, k) if turn_b else (k, n)), ldb, dtype)
                out = _columns(c, i * apart_c.value, m, n, ldc, dtype)
                out[...] = (left.T if turn_a else left) @ (right.T if turn_b else right)

        if tape.work is not None:
            tape.work.append(run)
            tape.names.append("gemm")
        else:
            counter.launched.append("gemm")
            run()
        return 0


def _as_batch(args: Any) -> Any:
    """The arguments for one matrix as those for a batch of one."""
    *shape, a, lda, b, ldb, beta, c, ldc = args
    no = ctypes.c_longlong(0)
    return *shape, a, lda, no, b, ldb, no, beta, c, ldc, no, 1


def _columns(place: Any, offset: int, rows: int, columns: int, apart: int, dtype: Any) -> Any:
    """The matrix at an address: each column is continuous, `apart` elements after the last."""
    size = np.dtype(dtype).itemsize
    length = (columns - 1) * apart + rows
    memory = (ctypes.c_char * (length * size)).from_address(place.value + offset * size)
    flat = np.frombuffer(memory, dtype)
    return np.lib.stride_tricks.as_strided(flat, (rows, columns), (size, apart * size))
