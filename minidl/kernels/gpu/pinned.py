"""Copies between host and GPU that run beside other work.

An ordinary copy makes the host wait, because the system may move the host's memory meanwhile.
*Pinned* memory stays where it is, so the GPU fetches it by itself. `Feed` brings a batch to the GPU
while the step before still computes; `Mailbox` brings a step's numbers back while later steps run.
An event marks a place in a stream's work: who waits for it, waits for all that came before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...device import Array, cupy

ALIGNED = 256  # bytes; where each array begins, as CuPy's own arrays do


def _pinned(count: int) -> np.ndarray:
    """Pinned memory of the host, as bytes."""
    return np.frombuffer(cupy().cuda.alloc_pinned_memory(count), np.uint8, count)


def _copy(target: int, source: int, count: int, stream: Any) -> None:
    """Copy bytes between two addresses, of the host or the GPU, when the stream comes to it."""
    by_address = 4  # cudaMemcpyDefault: the addresses say on which side they lie
    cupy().cuda.runtime.memcpyAsync(target, source, count, by_address, stream.ptr)


class Feed:
    """Arrays on the GPU, which `put` fills with values of the host.

    like: an array of the host for each, with its shape and type. arrays: those on the GPU; they
    always lie at the same addresses.

    There are two slots, each with memory on both sides. While one slot's bytes are on their way,
    the host writes into the other one.
    """

    def __init__(self, like: Sequence[np.ndarray]) -> None:
        xp = cupy()
        starts, end = [], 0
        for array in like:
            starts.append(end)
            end += -(-array.nbytes // ALIGNED) * ALIGNED
        self._size = end
        self._stream = xp.cuda.Stream(non_blocking=True)
        self._slots = [_Slot(end, starts, like) for _ in range(2)]
        self._memory = xp.empty(end, xp.uint8)
        self.arrays = [
            self._memory[start : start + a.nbytes].view(a.dtype).reshape(a.shape)
            for start, a in zip(starts, like, strict=True)
        ]

    def put(self, values: Sequence[np.ndarray]) -> None:
        """Let the arrays have these values, in what the current stream does from here on."""
        slot, self._slots = self._slots[0], self._slots[::-1]
        slot.left.synchronize()  # the GPU has read what the slot held before
        for view, value in zip(slot.views, values, strict=True):
            view[...] = value
        _copy(slot.memory.data.ptr, slot.host.ctypes.data, self._size, self._stream)
        slot.arrived.record(self._stream)
        now = cupy().cuda.get_current_stream()
        now.wait_event(slot.arrived)
        _copy(self._memory.data.ptr, slot.memory.data.ptr, self._size, now)
        slot.left.record(now)


class _Slot:
    """Memory for one batch on both sides. left: its bytes have gone on from here."""

    def __init__(self, size: int, starts: list[int], like: Sequence[np.ndarray]) -> None:
        xp = cupy()
        self.host, self.memory = _pinned(size), xp.empty(size, xp.uint8)
        self.views = [
            self.host[start : start + a.nbytes].view(a.dtype).reshape(a.shape)
            for start, a in zip(starts, like, strict=True)
        ]
        self.arrived, self.left = (xp.cuda.Event(disable_timing=True) for _ in range(2))


class Mailbox:
    """Copies of an array's values on the host, taken without waiting."""

    def __init__(self) -> None:
        self._free: list[tuple[np.ndarray, Any]] = []

    def send(self, array: Array) -> Letter:
        """Copy the array's present values when the current stream comes to it."""
        if not self._free:
            self._free.append((_pinned(array.nbytes), cupy().cuda.Event(disable_timing=True)))
        host, event = self._free.pop()
        now = cupy().cuda.get_current_stream()
        _copy(host.ctypes.data, array.data.ptr, array.nbytes, now)
        event.record(now)
        return Letter(host, event, array.dtype, self._free)


class Letter:
    """Values on their way to the host."""

    def __init__(self, host: np.ndarray, event: Any, dtype: Any, free: list[Any]) -> None:
        self._host, self._event, self._dtype, self._free = host, event, dtype, free

    def open(self) -> np.ndarray:
        """The values; the host waits until they are there."""
        self._event.synchronize()
        values = self._host.view(self._dtype).copy()
        self._free.append((self._host, self._event))
        return values
