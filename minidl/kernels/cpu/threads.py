"""One layer's work, shared among the processor's cores: minidl's own threads.

NumPy and BLAS release Python's global interpreter lock while they compute. So two threads of one
Python program can multiply two matrices at the same time. A kernel cuts its work into parts (a few
rows of the images, some columns of a matrix) and calls `share`, which gives the parts to the
threads.

Why not leave the threads to BLAS? BLAS has threads of its own, and divides one product among them.
But a layer is many products, with other passes over memory between them. BLAS's threads must meet
at the end of every product, and the work between two products is not shared. Now and then another
program takes a core away. The thread that ran on it is late, and all others wait for it: products
that take 15 ms together took up to 1,000 ms. Here a thread that has finished a part takes the next
one, so a late thread leaves its parts to the others. The threads meet once, at the end of the
kernel, and wait there only for parts that were begun.

Therefore BLAS is told to use the calling thread alone while parts are shared. The same is done for
every other product and sum that minidl leaves to BLAS. The reason: for some milliseconds after a
product, BLAS's threads wait for the next one in a loop, and take the core from the thread that
works. One such product in a step of `vgg_small` made the whole step 1.5 times as long.

Why a part should be few and long calls of NumPy: between two calls a thread runs Python, which only
one thread at a time can do. A thread that comes back from NumPy while the other one runs Python has
to sleep, and to be woken. That takes 5 to 30 µs, depending on the machine and the hour. Images of
16 channels were once convolved row by row, in calls of 40 µs. At times two threads then needed as
long as one, 3.6 ms. In calls for several rows they need 1.5 ms, and one thread 2.7 ms.

For the same reason the kernels' tiles are as large as a second-level cache, 1 to 2 MB. For one
thread smaller ones would do. An Adam step of 3 million parameters took one thread 4.1 ms. In chunks
of 65,536 numbers it took two threads 4.8 ms, and in chunks of 262,144 numbers 2.9 ms.

Why the results do not depend on the number of threads: the size of a part depends on the shapes
alone. Where the results of parts are added up, they are added in the order of the parts, whichever
thread computed them. So one thread gives the same bytes as eight.

A thread that has nothing to do sleeps. The threads start at the first use. A forked process starts
its own.
"""

from __future__ import annotations

import contextvars
import functools
import itertools
import os
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

import numpy as np

from ...errors import ConfigError
from .blas import BLAS_THREADS, one_blas_thread

MOST = 16  # the most parts that a matrix product or an optimizer step is cut into
QUOTA = Path("/sys/fs/cgroup/cpu.max")  # where Linux says what a container may use

Part = TypeVar("Part")
Result = TypeVar("Result")


def share(task: Callable[[Part], Result], parts: Iterable[Part]) -> list[Result]:
    """[task(part) for part in parts], computed by the threads.

    The tasks must not write to the same memory. After an error no further part is begun. The error
    is raised here; if there are several, that of the first part.
    """
    parts, team = list(parts), _team()
    with one_blas_thread():
        if len(parts) < 2 or team.size < 2 or threading.get_ident() in team.helpers:
            return [task(part) for part in parts]
        return _Work(task, parts).run(team)


def share_and_add(task: Callable[[Part], np.ndarray], parts: Iterable[Part]) -> np.ndarray:
    """The sum of task(part) over the parts, added in their order."""
    return functools.reduce(np.add, share(task, parts))


def set_threads(n: int) -> None:
    """Let n threads share a layer's work on the CPU, the calling thread included.

    Results are the same for every n. MINIDL_THREADS=n in the environment does the same. The default
    is the number of cores that the process may use, but no more threads than NumPy's BLAS would
    start. So OMP_NUM_THREADS and OPENBLAS_NUM_THREADS limit it too.
    Raises: ConfigError where n is no int >= 1.
    """
    global _current
    before, _current = _current, _Team(_checked("set_threads: expected n", n))
    if before is not None:
        before.dismiss()


def get_threads() -> int:
    """How many threads share a layer's work on the CPU, the calling one included."""
    return _team().size


class _Work:
    """The parts of one call of `share`. Each thread takes the next one until none is left."""

    def __init__(self, task: Callable[[Any], Any], parts: list[Any]) -> None:
        self.task, self.parts, self.count = task, parts, len(parts)
        self.results: list[Any] = [None] * len(parts)
        self.errors: dict[int, BaseException] = {}
        self.working: set[int] = set()  # the threads that may be computing a part
        # Python takes the next number of a count in one step, so no two threads get the same.
        self.numbers, self.ended = itertools.count(), itertools.count(1)
        self.all_ended = threading.Lock()
        self.all_ended.acquire()
        self.context = contextvars.copy_context()  # np.errstate holds for the parts too

    def help(self) -> None:
        """Take parts until none is left. After an error the remaining parts are skipped."""
        self.working.add(threading.get_ident())
        try:
            while (number := next(self.numbers)) < self.count:
                try:
                    if not self.errors:
                        self.results[number] = self.task(self.parts[number])
                except BaseException as error:
                    self.errors[number] = error
                if next(self.ended) == self.count:
                    self.all_ended.release()
        finally:
            self.working.discard(threading.get_ident())

    def run(self, team: _Team) -> list[Any]:
        """Call helpers, take parts too, wait for the parts that were begun, return the results.

        At the end this object forgets its arrays. A helper that wakes too late, or the traceback of
        an error, may hold the object longer, and would keep the arrays in memory.
        """
        try:  # begins before the first call: an interrupt must not leave a helper at work
            for _ in range(min(team.size, self.count) - 1):
                team.call(self)
            self.help()
            self.all_ended.acquire()
        except BaseException as error:  # Ctrl-C: wait until the helpers have ended their parts
            self.errors[-1] = error
            while self.working - {threading.get_ident()}:
                time.sleep(0.001)
        results, errors = self.results, self.errors
        del self.task, self.parts, self.results, self.context
        self.errors = {}
        if errors:
            first, errors = errors[min(errors)], {}
            try:
                raise first
            finally:
                del first
        return results


class _Team:
    """The calling thread and its helpers, which sleep until there is work."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.calls: SimpleQueue[_Work | None] = SimpleQueue()
        self.helpers: set[int | None] = set()
        self.dismissed = False
        self.starting = threading.RLock()  # a signal's handler may compute too

    def call(self, work: _Work) -> None:
        """Wake a helper for this work, unless enough calls for all helpers are waiting already."""
        if len(self.helpers) < self.size - 1:
            with self.starting:
                while len(self.helpers) < self.size - 1 and not self.dismissed:
                    thread = threading.Thread(target=self.serve, name="minidl", daemon=True)
                    thread.start()
                    self.helpers.add(thread.ident)
        if self.calls.qsize() < self.size - 1:
            self.calls.put(work)

    def serve(self) -> None:
        """The loop of a helper: sleep until called, help, sleep."""
        while (work := self.calls.get()) is not None:
            if (context := getattr(work, "context", None)) is not None:
                context.copy().run(work.help)
            del work, context  # a sleeping thread must not keep arrays

    def dismiss(self) -> None:
        """Let the helpers end after the work that is waiting for them."""
        with self.starting:
            self.dismissed = True
            for _ in self.helpers:
                self.calls.put(None)


_current: _Team | None = None


def _team() -> _Team:
    global _current
    if _current is None:
        _current = _Team(default_threads())
    return _current


def default_threads() -> int:
    """MINIDL_THREADS, or the cores that the process may use, or fewer where BLAS is limited."""
    told = os.environ.get("MINIDL_THREADS", "").strip()
    if told:
        return _checked("MINIDL_THREADS: expected", int(told) if told.isdecimal() else told)
    return min(_cores(), BLAS_THREADS or _cores())


def _checked(expected: str, n: Any) -> int:
    if not isinstance(n, int | np.integer) or isinstance(n, bool) or n < 1:
        raise ConfigError(f"{expected} an int >= 1, got {n!r}")
    return int(n)


def _cores() -> int:
    """The cores that the process may use: those it is bound to, and no more than its quota."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    try:  # a container's share of the processor: microseconds in each period, and the period
        quota, period = map(int, QUOTA.read_text(encoding="ascii").split())
    except (OSError, ValueError):  # no such file, or "max"
        return bound or 1
    return min(bound or 1, -(-quota // period))


def _after_fork() -> None:
    """The child of a fork has none of its parent's helpers."""
    global _current
    _current = None if _current is None else _Team(_current.size)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
