"""out += a @ b in one call to the matrix-product library that NumPy itself uses.

`np.matmul` can only overwrite its output, so adding products up costs a temporary and an addition
for each. BLAS's own `gemm` computes out = a·b + beta·out; with beta = 1 it adds. NumPy carries such
a library but offers no way to it, so this file finds the function behind NumPy's own module and
calls it through ctypes. Where none is found, or with MINIDL_BLAS=0, NumPy does the same in two
steps.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable

import numpy as np

_ROW_MAJOR, _AS_IT_LIES, _TRANSPOSED = 101, 111, 112  # names of the CBLAS interface

# How builds of NumPy name gemm, and the width of its integers.
_NAMES = (
    ("scipy_cblas_{}gemm64_", ctypes.c_int64),
    ("cblas_{}gemm64_", ctypes.c_int64),
    ("scipy_cblas_{}gemm", ctypes.c_int32),
    ("cblas_{}gemm", ctypes.c_int32),
)


def add_product(out: np.ndarray, a: np.ndarray, b: np.ndarray) -> None:
    """out += a @ b for matrices of one float type; out must not overlap a or b."""
    gemm = _gemm.get(out.dtype.char)
    if gemm is None or not a.dtype == b.dtype == out.dtype or not out.size or not a.size:
        out += a @ b
        return
    form_a, form_b, form_out = _form(a), _form(b), _form(out)
    if form_a is None or form_b is None or form_out is None or form_out[0] != _AS_IT_LIES:
        out += a @ b
        return
    gemm(
        _ROW_MAJOR, form_a[0], form_b[0],
        out.shape[0], out.shape[1], a.shape[1],
        1.0, _address(a), form_a[1], _address(b), form_b[1],
        1.0, _address(out), form_out[1],
    )  # fmt: skip


def _form(matrix: np.ndarray) -> tuple[int, int] | None:
    """How BLAS can read a matrix: row by row or transposed, and the step between its lines."""
    (rows, columns), (down, across) = matrix.shape, matrix.strides
    item = matrix.itemsize
    if (across == item or columns == 1) and (down >= columns * item or rows == 1):
        return _AS_IT_LIES, max(down // item, columns)
    if (down == item or rows == 1) and (across >= rows * item or columns == 1):
        return _TRANSPOSED, max(across // item, rows)
    return None


def _address(matrix: np.ndarray) -> int:
    return matrix.__array_interface__["data"][0]


def _find(letter: str, real: type) -> Callable[..., None] | None:
    """The gemm of NumPy's library for one float type, or None."""
    try:
        # A lookup in NumPy's compiled module also searches the libraries it was linked with.
        library = ctypes.CDLL(np._core._multiarray_umath.__file__)  # type: ignore[attr-defined]
    except (AttributeError, OSError):
        return None
    for name, integer in _NAMES:
        gemm = getattr(library, name.format(letter), None)
        if gemm is not None:
            flag, pointer = ctypes.c_int, ctypes.c_void_p
            gemm.argtypes = [flag] * 3 + [integer] * 3 + [
                real, pointer, integer, pointer, integer, real, pointer, integer
            ]  # fmt: skip
            gemm.restype = None
            return gemm
    return None


def _load() -> dict[str, Callable[..., None]]:
    if os.environ.get("MINIDL_BLAS", "1") == "0":
        return {}
    found = {"f": _find("s", ctypes.c_float), "d": _find("d", ctypes.c_double)}
    return {char: gemm for char, gemm in found.items() if gemm is not None}


def _counts_right(char: str) -> bool:
    """Whether the function found adds a small product of views correctly."""
    grid = np.arange(20, dtype=char).reshape(4, 5)
    out = np.ones((3, 6), char)
    add_product(out[:, 1:5], grid[:3, 1:4], grid[:4, 2:5].T)
    right = np.ones((3, 6), char)
    right[:, 1:5] += grid[:3, 1:4] @ grid[:4, 2:5].T
    return bool((out == right).all())


_gemm = _load()
_gemm = {char: gemm for char, gemm in _gemm.items() if _counts_right(char)}
