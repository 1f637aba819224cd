"""A stand-in for cupyx.distributed: threads of one process pass for processes with a GPU each.

It takes what NCCL takes: contiguous arrays of the device of equal size from all, and it copies
memory, not logical order. Names and arguments are those of CuPy 13 and 14.
"""

import threading
import types
from typing import Any

import numpy as np

from .array import ndarray


class Fabric:
    """Where the threads meet."""

    def __init__(self, size: int) -> None:
        self.barrier = threading.Barrier(size, timeout=30)
        self.sent: dict[int, np.ndarray] = {}
        self.calls: list[str] = []


class Backend:
    """What `init_process_group` returns."""

    def __init__(self, fabric: Fabric, rank: int) -> None:
        self._fabric, self._rank = fabric, rank

    def _exchange(self, call: str, array: Any) -> list[np.ndarray]:
        """The memory of all threads' arrays."""
        if not isinstance(array, ndarray):
            raise TypeError(f"{call}: expected a cupy.ndarray, got {type(array).__name__}")
        if not array.flags.c_contiguous and not array.flags.f_contiguous:
            raise RuntimeError("NCCL requires arrays to be either c- or f-contiguous")
        if array.dtype.char not in "bBiIlLqQefd":
            raise TypeError(f"Unknown dtype {array.dtype} for NCCL")
        fabric = self._fabric
        fabric.sent[self._rank] = array._array.ravel(order="K").copy()
        if self._rank == 0:
            fabric.calls.append(call)
        fabric.barrier.wait()
        found = [fabric.sent[rank] for rank in range(fabric.barrier.parties)]
        fabric.barrier.wait()
        if len({(part.size, part.dtype) for part in found}) > 1:
            raise RuntimeError(f"{call}: the processes sent different sizes: NCCL would hang")
        return found

    def all_reduce(
        self, in_array: Any, out_array: Any, op: str = "sum", stream: Any = None
    ) -> None:
        """out_array becomes the sum of all in_arrays."""
        assert op == "sum"
        out_array._array.ravel(order="K")[...] = sum(self._exchange("all_reduce", in_array))

    def all_gather(self, in_array: Any, out_array: Any, count: int, stream: Any = None) -> None:
        """out_array becomes all in_arrays, `count` numbers of each, one after the other."""
        assert count == in_array.size
        found = np.concatenate(self._exchange("all_gather", in_array))
        assert out_array.flags.c_contiguous
        out_array._array.reshape(-1)[...] = found


def module(size: int) -> Any:
    """Stands for cupyx.distributed among `size` threads; `.fabric` is where they meet."""
    found: Any = types.ModuleType("cupyx.distributed")
    found.fabric = Fabric(size)

    def init_process_group(
        n_devices: int, rank: int, *, backend: str = "nccl", host: Any = None, port: Any = None,
        use_mpi: bool = False,
    ) -> Backend:  # fmt: skip
        assert n_devices == size
        return Backend(found.fabric, rank)

    found.init_process_group = init_process_group
    return found
