"""The exchange of data between the shards of a batch, in one process or in several.

A shard computes by itself until it needs data of all shards: the outputs of the whole batch, or the
moments of a batch normalisation. Then it calls `gather`.
"""

import copy
import threading
from collections.abc import Callable, Sequence
from contextvars import copy_context
from itertools import pairwise
from typing import Any

import numpy as np

from .. import rng
from ..device import Array, array_module, choose_gpu


class Link:
    """How arrays travel between the processes. Here there is one process, and nothing travels."""

    def gather(self, own: Array, lengths: Sequence[int]) -> Array:
        """All processes' rows. lengths: how many each of them has."""
        return own

    def begin(self, part: Array) -> Callable[[], Any]:
        """Start to replace `part` by its sum over the processes; returns a function that waits."""
        return lambda: None


def tree_sum(arrays: list[Array]) -> Array:
    """((a + b) + (c + d)), in place. The order is the same for any number of processes."""
    while len(arrays) > 1:
        for i in range(0, len(arrays) - 1, 2):
            arrays[i] += arrays[i + 1]
        arrays = arrays[::2]
    return arrays[0]


class Shard:
    """One shard of a batch. As a `modes.Joint` it gives batch normalisation the batch's moments.

    own: the numbers of this process's shards. number: that of this shard. bounds: the first row of
    each shard, and the end of the last one.
    """

    def __init__(self, meeting: "Meeting", own: range, number: int, bounds: list[int]) -> None:
        self.sizes = [stop - start for start, stop in pairwise(bounds)]
        self.rows = slice(bounds[number], bounds[number + 1])
        self._number, self._turn = number, number - own.start
        self._each_has, self._meeting = len(own), meeting
        self._source = rng.generator().bit_generator
        if self._turn:  # all shards draw from the same state, and the first one moves it on
            self._source = copy.deepcopy(self._source)

    def randomness(self) -> np.random.Generator:
        """A generator that draws for the whole batch and gives this shard's part."""
        return rng.Rows(self._source, self.rows, sum(self.sizes))

    def gather(self, own: Array) -> Array:
        """The rows of all shards."""
        return self._meeting.gather(self._turn, own, self._by_process(self.sizes))

    def _by_process(self, sizes: Sequence[int]) -> list[int]:
        each = self._each_has
        return [sum(sizes[i : i + each]) for i in range(0, len(sizes), each)]

    def _each(self, *values: Array) -> Array:
        """The rows of all shards, one each; this shard's row is made of the values."""
        own = values[0].reshape(1, -1)
        if len(values) > 1:
            own = array_module(own).stack(values)[None]
        return self._meeting.gather(self._turn, own, self._by_process([1] * len(self.sizes)))

    def count(self, own: int) -> int:
        """How many values of a channel the batch has, if this shard has `own`."""
        return own // self.sizes[self._number] * sum(self.sizes)

    def moments(self, mean: Array, variance: Array, own: int) -> tuple[Array, Array]:
        """Mean and variance of the batch, by the formula of `kernels.cpu.batch_norm`."""
        image = own // self.sizes[self._number]
        seen, joined, squares = 0, 0.0, 0.0
        for rows, found in zip(self.sizes, self._each(mean, variance), strict=True):
            count = rows * image
            apart, fraction = found[0] - joined, count / (seen + count)
            squares += found[1] * count + apart * (apart * (seen * fraction))
            joined += apart * fraction
            seen += count
        return joined, squares / seen

    def sums(self, first: Array, second: Array) -> tuple[Array, Array]:
        """Two sums over the batch, added in the order of `tree_sum`, as gradients are."""
        total = tree_sum([part.copy() for part in self._each(first, second)])
        return total[0], total[1]


class Meeting:
    """Where the shards of one process wait for each other.

    A single shard is computed directly. Several take turns, each in a thread of its own: a shard
    computes until it needs data of the others, then the next one computes. So only one of these
    threads works at a time, always in the same order, and its kernels may use all of minidl's
    threads.
    """

    def __init__(self, count: int, link: Link) -> None:
        self._link, self._found = link, [None] * count
        self._turns = [threading.Semaphore(0) for _ in range(count)]
        self._whole: Any = None
        self._error: BaseException | None = None

    def gather(self, turn: int, own: Array, lengths: Sequence[int]) -> Array:
        """The rows of all shards of all processes."""
        self._found[turn] = own
        if turn + 1 == len(self._turns):
            found: Any = self._found
            rows = found[0] if turn == 0 else array_module(own).concatenate(found)
            self._whole = self._link.gather(rows, lengths)
        if turn or len(self._turns) > 1:
            self._hand_over(turn)
            self._turns[turn].acquire()
            if self._error is not None:
                raise InterruptedError  # ends this thread; `run` raises the other shard's error
        return self._whole

    def _hand_over(self, turn: int) -> None:
        self._turns[(turn + 1) % len(self._turns)].release()

    def run(self, work: Callable[[int], Any], on_gpu: bool) -> list[Any]:
        """[work(0), work(1), ...], in turns."""
        if len(self._turns) == 1:
            return [work(0)]
        results: list[Any] = [None] * len(self._turns)

        def take(turn: int) -> None:
            self._turns[turn].acquire()
            try:
                if on_gpu:
                    choose_gpu()  # in CUDA each thread chooses its own GPU
                if self._error is None:
                    results[turn] = work(turn)
            except BaseException as error:
                self._error = self._error or error
            self._hand_over(turn)

        threads = [
            threading.Thread(target=copy_context().run, args=(take, turn), daemon=True)
            for turn in range(len(self._turns))
        ]
        for thread in threads:
            thread.start()
        self._turns[0].release()
        try:
            for thread in threads:
                thread.join()
        except BaseException as error:  # a second Ctrl-C
            self._error = error
            raise
        if self._error is not None:
            raise self._error
        return results
