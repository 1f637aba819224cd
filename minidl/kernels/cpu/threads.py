"""One layer's work, shared among the processor's cores: minidl's own threads.

NumPy lets go of Python's lock while it computes, and BLAS does too. So two threads of one Python
program can multiply two matrices at the same time. A kernel cuts its work into parts (a few rows of
the images, some columns of a matrix) and calls `share`, which gives the parts to the threads.

Why not leave the threads to BLAS? BLAS has threads of its own, and divides one product among them.
But a layer is many products and other passes over memory between them. BLAS's threads must meet at
the end of every product, and nothing between two products is shared. A program beside it takes a
core away now and then; the thread that had it is late, and all others wait: products of 15 ms
together took up to 1,000 ms. Here a thread takes the next part when it is done with one, so a
thread that is late leaves its parts to the others. They meet once, at the end of the kernel, and
wait there only for parts that somebody has begun.

So while parts are shared, BLAS is told to use the calling thread alone. The same holds for every
other product and sum that minidl leaves to BLAS: for some milliseconds after each one, BLAS's
threads look for the next in a loop, and take the core from the thread that works. One such product
in a step of `vgg_small` made the whole step 1.5 times as long.

Why the results do not depend on the number of threads: what a part holds depends on the shapes
alone, and where parts are added up, they are added in their order, whoever computed them. One
thread, or eight, or a slow one among fast ones: the same bytes.

A thread that has nothing to do sleeps. The threads start at the first use; a process that is forked
starts its own.
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

MOST = 16  # parts of one piece of work: enough for as many threads
QUOTA = Path("/sys/fs/cgroup/cpu.max")  # where Linux says what a container may use

Part = TypeVar("Part")
Result = TypeVar("Result")


def share(task: Callable[[Part], Result], parts: Iterable[Part]) -> list[Result]:
    """[task(part) for part in parts], computed by the threads.

    The tasks must not write to the same memory. After an error no further part is begun, and the
    error is raised here, that of the first part if there are several.
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
    """Let n threads share a layer's work on the CPU, the calling one included; 1 is none beside it.

    Results are the same for every n. MINIDL_THREADS=n in the environment does the same. By default
    there are as many as the process may use cores, and no more than NumPy's BLAS would start
    (OMP_NUM_THREADS and OPENBLAS_NUM_THREADS limit both).
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
        self.working: set[int] = set()  # the threads that may be at a part
        # Python takes the next number of a count in one step, so no two threads get the same.
        self.numbers, self.ended = itertools.count(), itertools.count(1)
        self.all_ended = threading.Lock()
        self.all_ended.acquire()
        self.context = contextvars.copy_context()  # np.errstate holds for the parts too

    def help(self) -> None:
        """Take parts until none is left. After an error the others are passed over."""
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
        """Call helpers, take parts too, wait for those that are begun, and return the results.

        Nothing is kept: a helper that comes late finds an empty shell, and an error's traceback
        leads back here.
        """
        try:  # from the first call on: an interrupt must not leave a helper at work
            for _ in range(min(team.size, self.count) - 1):
                team.call(self)
            self.help()
            self.all_ended.acquire()
        except BaseException as error:  # Ctrl-C between two steps: whoever is at a part ends it
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
    """The calling thread and its helpers, which sleep until somebody calls."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.calls: SimpleQueue[_Work | None] = SimpleQueue()
        self.helpers: set[int | None] = set()
        self.dismissed = False
        self.starting = threading.RLock()  # a signal's handler may compute too

    def call(self, work: _Work) -> None:
        """Wake a helper, unless all of them have calls waiting already."""
        if len(self.helpers) < self.size - 1:
            with self.starting:
                while len(self.helpers) < self.size - 1 and not self.dismissed:
                    thread = threading.Thread(target=self.serve, name="minidl", daemon=True)
                    thread.start()
                    self.helpers.add(thread.ident)
        if self.calls.qsize() < self.size - 1:
            self.calls.put(work)

    def serve(self) -> None:
        """What a helper does: sleep, help, sleep."""
        while (work := self.calls.get()) is not None:
            if (context := getattr(work, "context", None)) is not None:
                context.copy().run(work.help)
            del work, context  # a sleeping thread must not keep arrays

    def dismiss(self) -> None:
        """Let the helpers end, after the work that they were called for."""
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
