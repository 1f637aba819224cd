"""BLAS, the library behind NumPy's products: two of its routines, and how many threads it uses.

NumPy computes out += a @ b and out += factor·a in two steps: a temporary array, then an addition.
BLAS has one call for each. `gemm` computes out = a·b + beta·out, which adds to out if beta = 1.
`axpy` computes out = factor·a + out and stores no temporary array. NumPy contains a BLAS, but its
interface has neither call. So this file finds the two functions in NumPy's own compiled module and
calls them through ctypes. Where they are not found, or with MINIDL_BLAS=0, NumPy does the same in
two steps.

ctypes checks nothing, and a wrong address would crash the process. So two kinds of array are left
to NumPy: those whose memory order BLAS cannot read, which NumPy copies, and read-only ones, which
NumPy refuses.
"""

from __future__ import annotations

import ctypes
import os
import threading
import weakref
from collections.abc import Callable
from contextlib import ContextDecorator
from typing import Self

import numpy as np

# CblasRowMajor, CblasNoTrans and CblasTrans of the CBLAS interface.
_ROW_MAJOR, _NOT_TRANSPOSED, _TRANSPOSED = 101, 111, 112

# The names that builds of NumPy give the routines, and the width of the routines' integers.
_NAMES = (
    ("scipy_cblas_{}64_", ctypes.c_int64),
    ("cblas_{}64_", ctypes.c_int64),
    ("scipy_cblas_{}", ctypes.c_int32),
    ("cblas_{}", ctypes.c_int32),
)
_DATA = object.__basicsize__  # in NumPy's array object the data's address follows Python's header
_REALS = {"f": ctypes.c_float, "d": ctypes.c_double}


def add_product(out: np.ndarray, a: np.ndarray, b: np.ndarray) -> None:
    """out += a @ b for matrices of one float type; out must not overlap a or b."""
    dtype, form_a, form_b, form_out = out.dtype, _form(a), _form(b), _form(out)
    gemm = _gemm.get(dtype.char)
    if (
        gemm is None or not out.flags.writeable
        or not dtype.isnative or not a.dtype == b.dtype == dtype
        or form_a is None or form_b is None or form_out is None or form_out[0] != _NOT_TRANSPOSED
    ):  # fmt: skip
        out += a @ b
        return
    gemm(
        _ROW_MAJOR, form_a[0], form_b[0], *out.shape, a.shape[1],
        1.0, _address(a), form_a[1], _address(b), form_b[1], 1.0, _address(out), form_out[1],
    )  # fmt: skip


def add_multiple(out: np.ndarray, factor: float, a: np.ndarray) -> None:
    """out += factor·a for arrays of one shape; out must not overlap a."""
    axpy = _axpy.get(out.dtype.char) if out.dtype.isnative else None
    alike = isinstance(a, np.ndarray) and a.dtype == out.dtype
    alike = alike and a.shape == out.shape and a.strides == out.strides
    # BLAS skips the addition where factor is 0, but 0·∞ is NaN.
    flags = out.flags
    dense = flags.writeable and (flags.c_contiguous or flags.f_contiguous)
    if axpy is None or not alike or not out.size or not dense or not factor:
        out += a * out.dtype.type(factor)
        return
    axpy(out.size, factor, _address(a), 1, _address(out), 1)


def _library() -> ctypes.CDLL | None:
    """NumPy's compiled module. A search in it includes the libraries that it is linked with."""
    try:
        return ctypes.CDLL(np._core._multiarray_umath.__file__)  # type: ignore[attr-defined]
    except (AttributeError, OSError):
        return None


def _function(name: str) -> Callable[..., int] | None:
    """One of OpenBLAS's own functions, such as "get_num_threads", or None. It takes C's int."""
    if os.environ.get("MINIDL_BLAS", "1") == "0":
        return None
    names = "scipy_openblas_{}64_", "openblas_{}64_", "scipy_openblas_{}", "openblas_{}"
    found = (getattr(_library(), form.format(name), None) for form in names)
    return next((function for function in found if function is not None), None)


class _Limit:
    """OpenBLAS's number of threads, one for the whole process: 1 while a context is open.

    The contexts are those of `one_blas_thread`. Libraries other than OpenBLAS are left as they are.
    """

    def __init__(self) -> None:
        self.get, self.set = _function("get_num_threads"), _function("set_num_threads")
        self.lock = threading.RLock()  # a signal's handler may compute too
        self.inside: set[weakref.ref[one_blas_thread]] = set()  # the open contexts
        self.before, self.lowered = 1, False

    def lower(self) -> None:
        if self.get is not None and self.set is not None and (number := self.get()) != 1:
            self.before, self.lowered = number, True
            self.set(1)

    def put_back(self) -> None:
        if self.lowered and self.get is not None and self.set is not None:
            if self.get() == 1:  # otherwise other code has set a number meanwhile: keep that
                self.set(self.before)
            self.lowered = False


class one_blas_thread(ContextDecorator):  # a context with a lower-case name, like np.errstate
    """`with one_blas_thread():` BLAS uses the calling thread alone; `threads` says why.

    Ctrl-C may come at any moment, even at the first step of `__exit__`, whose body then never runs.
    Therefore the open contexts are kept as weak references. A context that was never closed
    disappears from the set when Python deletes it. The next one that closes restores the number.
    """

    limit = _Limit()

    def _recreate_cm(self) -> Self:  # as a decorator: a new context for each call
        return type(self)()

    def __enter__(self) -> None:
        self.entered = limit = self.limit
        self.me = weakref.ref(self, limit.inside.discard)
        with limit.lock:
            limit.inside.add(self.me)
            if len(limit.inside) == 1:
                limit.lower()

    def __exit__(self, *error: object) -> None:
        limit = self.entered
        with limit.lock:
            limit.inside.discard(self.me)
            if not limit.inside:
                limit.put_back()


def _after_fork() -> None:
    """Restore the number in the child of a fork, where the other threads' contexts never close."""
    one_blas_thread.limit.put_back()
    one_blas_thread.limit = _Limit()


def _form(matrix: np.ndarray) -> tuple[int, int] | None:
    """How BLAS can read a matrix: (transposed or not, numbers from one line to the next).

    None where BLAS cannot read it without a copy, or where the matrix is empty.
    """
    (rows, columns), (down, across), item = matrix.shape, matrix.strides, matrix.itemsize
    if not rows or not columns:
        return None
    if (across == item or columns == 1) and (down >= columns * item or rows == 1):
        return _NOT_TRANSPOSED, max(down // item, columns)
    if (down == item or rows == 1) and (across >= rows * item or columns == 1):
        return _TRANSPOSED, max(across // item, rows)
    return None


def _address(array: np.ndarray) -> int:
    # NumPy's documented way to the address builds a dictionary, which takes as long as a small
    # product.
    assert isinstance(array, np.ndarray)  # a NumPy scalar would hold its value at this place
    return ctypes.c_void_p.from_address(id(array) + _DATA).value  # type: ignore[return-value]


def _find(routine: str, char: str, types: str) -> Callable[..., None] | None:
    """A routine ("gemm") of NumPy's library for one float type, or None.

    types: one letter for each argument: f(lag), i(nteger), r(eal), p(ointer).
    """
    for name, integer in _NAMES:
        found = getattr(_library(), name.format({"f": "s", "d": "d"}[char] + routine), None)
        if found is not None:
            letters = {"f": ctypes.c_int, "i": integer, "r": _REALS[char], "p": ctypes.c_void_p}
            found.argtypes = [letters[letter] for letter in types]
            found.restype = None
            return found
    return None


def _load(routine: str, types: str) -> dict[str, Callable[..., None]]:
    if os.environ.get("MINIDL_BLAS", "1") == "0":
        return {}
    found = {char: _find(routine, char, types) for char in _REALS}
    return {char: function for char, function in found.items() if function is not None}


def _counts_right(char: str) -> bool:
    """Whether the functions that were found compute a small example correctly."""
    grid = np.arange(20, dtype=char).reshape(4, 5)
    if _address(grid) != grid.__array_interface__["data"][0]:
        return False
    out, right = np.ones((3, 6), char), np.ones((3, 6), char)
    add_product(out[:, 1:5], grid[:3, 1:4], grid[:4, 2:5].T)
    right[:, 1:5] += grid[:3, 1:4] @ grid[:4, 2:5].T
    total = grid.copy()
    add_multiple(total, 3.0, grid)
    return bool((out == right).all() and (total == 4 * grid).all())


_gemm, _axpy = _load("gemm", "fffiiirpipirpi"), _load("axpy", "irpipi")
for _routine in (_gemm, _axpy):
    for _char in [char for char in _routine if not _counts_right(char)]:
        del _routine[_char]

# How many threads OpenBLAS uses by itself; None if NumPy has another library.
BLAS_THREADS = None if one_blas_thread.limit.get is None else one_blas_thread.limit.get()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
