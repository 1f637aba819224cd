"""A CUDA graph: a sequence of launches, recorded once and then started as one.

A launch costs the host some microseconds. The kernels of a small network take less than that, so
the GPU waits for Python. While a stream *captures*, launches are recorded instead of executed. The
resulting graph repeats them all with one call, without Python. There is a price:

- A graph reads and writes the same memory each time. Its memory comes from a pool of its own, so
  that no other array gets a piece of it. A new batch must be copied over the old one. Read a result
  before the next launch overwrites it.
- Python does not run again: an `if` is decided once, while the graph is recorded.
- Nothing may wait for the GPU or come from the host. CuPy's own products cannot be recorded;
  `product.recorded` calls cuBLAS itself.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from ...device import Array, capturing, cupy
from . import cublas
from .launch import compiled, counters, load
from .product import TEAM, product

POOLS: weakref.WeakSet[Any] = weakref.WeakSet()  # the memory of all graphs


class Graph:
    """The launches of `work()`, recorded. `result` is its return value; each `launch` fills it.

    like: an array of the dtype of work's matrix products. pool: the graph's memory.
    Raises: every error that work raises; CuPy's RuntimeError or NotImplementedError for a step that
    cannot be recorded.
    """

    def __init__(self, work: Callable[[], Any], like: Array) -> None:
        xp = cupy()
        self.pool = xp.cuda.MemoryPool()
        POOLS.add(self.pool)
        stream = xp.cuda.Stream(non_blocking=True)
        cublas.prepare(stream.ptr)
        one = xp.ones((1, 1), like.dtype)
        with stream:
            counters(1)  # the stream's own, for all launches that it records
        with stream, capturing():  # a kernel cannot be loaded during a capture
            product(one, one)
        if compiled(like.dtype):
            load("product", "matmul", like, TEAM=TEAM)
        xp.cuda.Device().synchronize()
        with xp.cuda.using_allocator(self.pool.malloc), stream, capturing():
            stream.begin_capture()
            try:
                self.result = work()
            except BaseException:
                with suppress(Exception):  # it would only repeat that the capture failed
                    stream.end_capture()
                raise
            self._graph = stream.end_capture()

    def launch(self) -> Any:
        """Do the work again, and return the arrays with its results."""
        self._graph.launch()
        return self.result
