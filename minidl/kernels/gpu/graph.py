"""A CUDA graph: a sequence of launches, recorded once and then started as one.

A launch costs the host some microseconds, and a small network's kernels take less than that: the
GPU waits for Python. While a stream *captures*, launches are written down instead of executed.
The graph that results repeats them with one call, whatever Python did between them. The price:

- A graph writes where it wrote when it was recorded. Its memory comes from a pool of its own,
  which nobody else is given a piece of, and a new batch is copied into the old one's place.
- Python does not run again: a choice made while recording is made for good.
- Nothing may wait for the GPU or come from the host, and CuPy does not let cuBLAS be recorded:
  `cuda.matmul` multiplies instead.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from ...device import Array, capturing, cupy
from .launch import product


class Graph:
    """What `work()` launches, recorded; `result` is what it returned, empty until a `launch`.

    like: an array of the type that work multiplies. pool: the graph's memory.
    Raises: whatever work raises, RuntimeError or NotImplementedError by CuPy where it does
    something that cannot be recorded.
    """

    def __init__(self, work: Callable[[], Any], like: Array) -> None:
        xp = cupy()
        self.pool = xp.cuda.MemoryPool()
        stream = xp.cuda.Stream(non_blocking=True)
        one = xp.ones((1, 1), like.dtype)
        with capturing():
            product(one, one)  # loads the kernel, which may not happen in a capture
        xp.cuda.Device().synchronize()
        with xp.cuda.using_allocator(self.pool.malloc), stream, capturing():
            stream.begin_capture()
            try:
                self.result = work()
            except BaseException:
                with suppress(Exception):  # it only says once more that the capture is broken
                    stream.end_capture()
                raise
            self._graph = stream.end_capture()

    def launch(self) -> Any:
        """Do the work again, and return the arrays that it wrote."""
        self._graph.launch()
        return self.result
