"""Memory: settings of the C library and BLAS for speed, and whether an array is in use elsewhere.

`start_up` holds all that `import minidl` does to the process for speed. Where a launcher has
started several processes, `processes.watch` sets sys.excepthook too.
"""

import ctypes
import functools
import os
import sys
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from .tensor import Tensor


def start_up() -> None:
    """Make the process faster at `import minidl`: two settings of the C library, and a product.

    `keep_freed_memory`: without it more than half of a training step is page faults.
    `touch_blas_buffers`: without it a matrix product takes 1.5 times as long.
    Environment variables leave each of them out: MINIDL_KEEP_MEMORY=0, MINIDL_BLAS=0.
    """
    keep_freed_memory()
    touch_blas_buffers()


def keep_freed_memory() -> bool:
    """Let the C library keep freed memory for the next array; True if it accepted the setting.

    By default glibc takes every array over 128 KiB from the system by `mmap`, and gives it back
    when it is freed. The system then hands out the next array page by page, and fills each page
    with zeros first. That costs more than half of a training step. glibc keeps freed memory once
    both thresholds are raised. Other C libraries have no such call.
    MINIDL_KEEP_MEMORY=0 leaves glibc as it is.
    """
    if os.environ.get("MINIDL_KEEP_MEMORY", "1") == "0":
        return False
    trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD in malloc.h
    largest = 2**31 - 1
    return _told("mallopt", mmap_threshold, 2**30) and _told("mallopt", trim_threshold, largest)


def share_freed_memory() -> bool:
    """Let all threads that start from now on share one store of freed memory; True if accepted.

    By default glibc gives a thread a store (an "arena") of its own. Memory that one thread has
    freed then serves no other thread, and `release_freed_memory` cannot return the end of such a
    store to the system. A server needs this, because it answers each connection in a new thread.
    """
    arenas = -8  # M_ARENA_MAX in malloc.h
    return _told("mallopt", arenas, 1)


def release_freed_memory() -> bool:
    """Return freed memory to the system; True if there was any. It takes about a millisecond.

    The C library keeps it otherwise, as `keep_freed_memory` asked it to. That is right within a
    training, where the next step needs it, and wrong after it.
    """
    return _told("malloc_trim", 0)


def _told(function: str, *numbers: int) -> bool:
    """What the C library's function answers; False where the library has no such function."""
    try:
        return bool(getattr(ctypes.CDLL(None), function)(*numbers))
    except (AttributeError, OSError, TypeError):
        return False


def touch_blas_buffers() -> None:
    """Multiply two matrices of each float type, so that all of BLAS's buffers are in memory.

    BLAS copies matrices into buffers of its own before it multiplies, and prefetches a little
    beyond the part that it reads. The system provides a page of memory only when the page is first
    written. A prefetch from a page that was never written fails, in every product. One product at
    the start writes these pages: (64, 784) @ (784, 512) took 1.17 ms on two cores before it, and
    0.80 ms afterwards. MINIDL_BLAS=0 leaves it out.
    """
    if os.environ.get("MINIDL_BLAS", "1") != "0":
        for dtype in ("f", "d"):
            np.ones((256, 384), dtype) @ np.ones((384, 256), dtype)


def lock() -> Any:
    """A lock that is free in the child of a fork.

    A fork copies locks as they are, but no other thread. So a lock that another thread held would
    never be released in the child.
    """
    made: Any = threading.RLock()
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=made._at_fork_reinit)  # as Python's own locks
    return made


def is_view(array: Any, of: Any) -> bool:
    """Whether `array` is a view of the array `of`, or of the array that `of` is a view of."""
    owner = getattr(array, "base", None)
    return owner is not None and (owner is of or owner is of.base)


def nobody_else_holds(t: "Tensor") -> bool:
    """Whether the caller alone holds this tensor, its array and the array's memory.

    Such an array may become a parameter's gradient without a copy. If anyone else holds the array,
    gradient clipping, which works in place, would change their numbers too. Python counts the
    references to every object. These counts are compared with those of a tensor just made.
    False where the memory belongs to another library, is read-only, or is larger than the array.
    """
    kind: Any = type(t)
    return _references(t) in _references_to_a_new_one(kind)


def _references(t: "Tensor") -> tuple[int, ...] | None:
    """(1 if the array owns its memory, else 0; the counts of tensor, array, owner), or None."""
    array = t.data
    owner = array if getattr(array, "base", None) is None else array.base
    own = type(owner) is type(array) and owner.base is None
    writable = getattr(array.flags, "writeable", True)  # CuPy's arrays always are
    if not own or owner.nbytes > array.nbytes or not writable:
        return None
    return int(owner is array), *map(sys.getrefcount, (t, array, owner))


@functools.cache
def _references_to_a_new_one(kind: Any) -> set[tuple[int, ...] | None]:
    """The counts of a tensor that only the caller holds: measured, as Python's versions differ."""

    # Stands for nobody_else_holds: each call on the way holds a reference to t too.
    def counted(t: "Tensor") -> tuple[int, ...] | None:
        return _references(t)

    whole, view = kind(np.empty(2)), kind(np.empty(2)[::-1])
    return {counted(whole), counted(view)}


def release_gpu_memory() -> None:
    """Return the memory that CuPy keeps for later arrays to the GPU; without CuPy, do nothing."""
    if "cupy" in sys.modules:
        sys.modules["cupy"].get_default_memory_pool().free_all_blocks()
