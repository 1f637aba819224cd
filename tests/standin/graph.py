"""The stand-in's CUDA graphs: what a capturing stream is given runs later, at each launch.

As on a GPU, nothing is computed while a stream captures: new arrays hold NaN until the graph is
launched, arrays that would have changed stay. A launch repeats everything on the same memory.
Waiting, copies from the host and cuBLAS break the capture, which then refuses to end.
"""

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

CUBLAS = {"matmul", "__matmul__", "__rmatmul__", "dot", "vdot", "inner", "tensordot", "einsum"}


class Tape:
    """The work that the capturing stream was given; None while no stream captures."""

    def __init__(self) -> None:
        self.work: list[Callable[[], None]] | None = None
        self.names: list[str] = []
        self.moved = 0  # bytes of the arrays that the recorded work reads and writes

    def refuse(self, what: str) -> None:
        """Break a capture by something that cannot be part of it."""
        if self.work is not None:
            self.work = None
            raise RuntimeError(f"{what}: operation not permitted when stream is capturing")

    def add(self, call: str, f: Any, inner: list[Any], options: dict[str, Any]) -> Any:
        """NumPy's result in shape and type; its values come with the launch."""
        if call in CUBLAS:
            self.work = None
            raise NotImplementedError(
                "calling cuBLAS API during stream capture is currently unsupported"
            )
        assert self.work is not None
        arrays = [a for a in _flat([*inner, *options.values()]) if a.flags.writeable]
        before = [a.copy() for a in arrays]
        result = f(*inner, **options)
        for a, old in zip(arrays, before, strict=True):
            a[...] = old
        if isinstance(result, list | tuple) or any(np.may_share_memory(result, a) for a in arrays):
            self.work.append(lambda: f(*inner, **options))
            if "out" in options or call.startswith("__i"):  # it writes, and is no view
                self.names.append(call)
                self.moved += sum(a.nbytes for a in _flat([*inner, *options.values()]))
            return result
        result = np.array(result)
        result.fill(np.nan if result.dtype.kind in "fc" else 113)

        def again() -> None:
            result[...] = f(*inner, **options)

        self.work.append(again)
        self.names.append(call)
        self.moved += result.nbytes + sum(a.nbytes for a in _flat(inner))
        return result


def _flat(values: list[Any]) -> list[np.ndarray]:
    found = []
    for value in values:
        found += _flat(list(value)) if isinstance(value, list | tuple) else [value]
    return [value for value in found if isinstance(value, np.ndarray)]


tape = Tape()


class Graph:
    """The recorded work; counted as one launch."""

    def __init__(self, work: list[Callable[[], None]], count: Callable[[str], Any]) -> None:
        self._work, self._count = work, count

    def launch(self, stream: Any = None) -> None:
        tape.refuse("cudaGraphLaunch")
        self._count("graph")
        with np.errstate(all="ignore"):
            for once in self._work:
                once()


class Stream:
    """A stream: everything runs at once, unless it captures."""

    count: Callable[[str], Any]

    def __init__(self, null: bool = False, non_blocking: bool = False, ptds: bool = False) -> None:
        self._blocking = not non_blocking
        self.ptr = id(self)
        self._current = False

    def __enter__(self) -> "Stream":
        self._current = True
        return self

    def __exit__(self, *error: Any) -> None:
        self._current = False

    def wait_event(self, event: "Event") -> None:
        """What follows in this stream comes after the event."""
        assert event.recorded

    def begin_capture(self, mode: Any = None) -> None:
        if self._blocking or not self._current:
            raise RuntimeError("cudaErrorStreamCaptureImplicit: a non-blocking, current stream")
        tape.work, tape.names = [], []

    def end_capture(self) -> Graph:
        work, tape.work = tape.work, None
        if work is None:
            raise RuntimeError("cudaErrorStreamCaptureInvalidated")
        return Graph(work, self.count)


class MemoryPool:
    """A pool of its own."""

    def malloc(self, size: int) -> None:
        """Named, never called: NumPy brings its own memory."""

    def total_bytes(self) -> int:
        return 0


@contextmanager
def using_allocator(allocator: Any = None) -> Iterator[None]:
    """Memory comes from a pool; here from NumPy."""
    yield


class Event:
    """A mark in a stream; here everything before it has run already."""

    def __init__(self, block: bool = False, disable_timing: bool = False) -> None:
        self.recorded = False

    def record(self, stream: Any = None) -> None:
        tape.refuse("cudaEventRecord")
        self.recorded = True

    def synchronize(self) -> None:
        """The host waits; counted only if there is something to wait for."""
        tape.refuse("cudaEventSynchronize")


def copy_memory(target: int, source: int, count: int, kind: int, stream: int) -> None:
    """cudaMemcpyAsync between addresses."""
    tape.refuse("cudaMemcpyAsync")
    assert kind == 4, "cudaMemcpyDefault"
    ctypes.memmove(target, source, count)
