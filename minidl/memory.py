"""Memory: what `import minidl` tells the C library and BLAS, and who holds an array.

All that importing minidl does to the process stands in `start_up`.
"""

import ctypes
import functools
import os
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from .tensor import Tensor


def start_up() -> None:
    """What `import minidl` does to the process, for speed alone: a setting, and a first product.

    `keep_freed_memory`: without it more than half of a training step is page faults.
    `touch_blas_buffers`: without it a matrix product takes 1.5 times as long.
    Environment variables leave each of them out: MINIDL_KEEP_MEMORY=0, MINIDL_BLAS=0.
    """
    keep_freed_memory()
    touch_blas_buffers()


def keep_freed_memory() -> bool:
    """Let the C library keep freed memory for the next array; True where it could be told so.

    Every array over 128 KiB comes from `mmap` and goes back to the system when it is freed. The
    next array is then handed out page by page, each page filled with zeros, and that costs more
    than half of a training step. glibc keeps the memory once both thresholds are raised. Other C
    libraries have no such call. MINIDL_KEEP_MEMORY=0 leaves glibc as it is.
    """
    if os.environ.get("MINIDL_KEEP_MEMORY", "1") == "0":
        return False
    trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD in malloc.h
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    largest = 2**31 - 1
    return bool(mallopt(mmap_threshold, 2**30) and mallopt(trim_threshold, largest))


def touch_blas_buffers() -> None:
    """Multiply two matrices of each float type, so that BLAS's own buffers are in memory.

    BLAS copies what it multiplies into buffers, and fetches a little ahead of what it reads. The
    system gives a page of memory only when it is first written, and a fetch from a page that was
    never written fails, in every product. One write ends that: (64, 784) @ (784, 512) took 1.17 ms
    on two cores before it, and 0.80 ms ever after. MINIDL_BLAS=0 leaves it out.
    """
    if os.environ.get("MINIDL_BLAS", "1") != "0":
        for dtype in ("f", "d"):
            np.ones((256, 384), dtype) @ np.ones((384, 256), dtype)


def nobody_else_holds(t: "Tensor") -> bool:
    """Whether the caller alone holds this tensor, its array and the memory under the array.

    Such an array may become a parameter's gradient as it is. If anybody else holds it, a clip or
    an optimizer that works in place would change their numbers too, so it has to be copied first.
    Python counts the references to every object; the counts are compared with those of a new
    tensor. False where the memory is not NumPy's own, is read-only, or is larger than the array.
    """
    kind: Any = type(t)
    return _references(t) in _references_to_a_new_one(kind)


def _references(t: "Tensor") -> tuple[int, ...] | None:
    array = t.data
    owner = array if getattr(array, "base", None) is None else array.base
    own = isinstance(array, np.ndarray) and isinstance(owner, np.ndarray) and owner.base is None
    if not own or owner.nbytes > array.nbytes or not array.flags.writeable:
        return None
    return int(owner is array), *map(sys.getrefcount, (t, array, owner))


@functools.cache
def _references_to_a_new_one(kind: Any) -> set[tuple[int, ...] | None]:
    """The counts for a tensor that only the caller holds; Python's versions count differently."""

    def counted(t: "Tensor") -> tuple[int, ...] | None:  # in the place of nobody_else_holds
        return _references(t)

    whole, view = kind(np.empty(2)), kind(np.empty(2)[::-1])
    return {counted(whole), counted(view)}


def release_gpu_memory() -> None:
    """Give back to the GPU what CuPy keeps for later arrays; nothing where CuPy is not in use."""
    if "cupy" in sys.modules:
        sys.modules["cupy"].get_default_memory_pool().free_all_blocks()
