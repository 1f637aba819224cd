"""BLAS, the library behind NumPy's products: one of its routines, and how many threads it uses.

NumPy computes out += factor·a in two steps: a temporary array, then an addition. BLAS has one call
for it, `axpy`, which stores no temporary array. NumPy contains a BLAS, but its interface lacks this
call. So this file finds the function in NumPy's own compiled module and calls it through ctypes.
Where it is not found, or with MINIDL_BLAS=0, NumPy does the same in two steps.

ctypes checks nothing, and a wrong address would crash the process. So two kinds of array are left
to NumPy: those whose memory has gaps, and read-only ones, which NumPy refuses.
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

# The names that builds of NumPy give the routine, and the width of its integers.
_NAMES = (
    ("scipy_cblas_{}axpy64_", ctypes.c_int64),
    ("cblas_{}axpy64_", ctypes.c_int64),
    ("scipy_cblas_{}axpy", ctypes.c_int32),
    ("cblas_{}axpy", ctypes.c_int32),
)
_DATA = object.__basicsize__  # in NumPy's array object the data's address follows Python's header
_REALS = {"f": ctypes.c_float, "d": ctypes.c_double}


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


def _address(array: np.ndarray) -> int:
    # NumPy's documented way to the address builds a dictionary, which takes as long as a small
    # product.
    assert isinstance(array, np.ndarray)  # a NumPy scalar would hold its value at this place
    return ctypes.c_void_p.from_address(id(array) + _DATA).value  # type: ignore[return-value]


def _find(char: str) -> Callable[..., None] | None:
    """`axpy` of NumPy's library for one float type ("f" or "d"), or None."""
    for name, integer in _NAMES:
        found = getattr(_library(), name.format({"f": "s", "d": "d"}[char]), None)
        if found is not None:
            pointer = ctypes.c_void_p
            found.argtypes = [integer, _REALS[char], pointer, integer, pointer, integer]
            found.restype = None
            return found
    return None


def _load() -> dict[str, Callable[..., None]]:
    if os.environ.get("MINIDL_BLAS", "1") == "0":
        return {}
    found = {char: _find(char) for char in _REALS}
    return {char: function for char, function in found.items() if function is not None}


def _counts_right(char: str) -> bool:
    """Whether the function that was found computes a small example correctly."""
    grid = np.arange(20, dtype=char).reshape(4, 5)
    if _address(grid) != grid.__array_interface__["data"][0]:
        return False
    total = grid.copy()
    add_multiple(total, 3.0, grid)
    return bool((total == 4 * grid).all())


_axpy = _load()
for _char in [char for char in _axpy if not _counts_right(char)]:
    del _axpy[_char]

# How many threads OpenBLAS uses by itself; None if NumPy has another library.
BLAS_THREADS = None if one_blas_thread.limit.get is None else one_blas_thread.limit.get()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
