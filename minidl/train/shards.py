"""A batch that is cut into shards: each is computed by itself, and all gradients are added.

The loss of a batch depends on the outputs of all its images. So every shard runs the model on its
own images; the outputs, which are small, are put together; the loss of the whole batch is computed
from them, in each process in the same way; and each shard carries back the gradient by its own
outputs. With w the weights and y_s the outputs of shard s,

    dL/dw = Σ_s (dy_s/dw)ᵀ dL/dy_s.

This holds for every loss of outputs and targets, also for one that weights its classes, and for
shards of different sizes. What a loss does with the weights themselves (a penalty) is in each
process's dL/dw once, and is added after the sum.

Batch normalisation needs moments of the whole batch: the shards meet in each such layer, forward
and backward (`_Shard`). Random numbers are drawn for the whole batch, and each shard takes its
rows.
"""

import copy
import threading
from collections.abc import Callable, Sequence
from contextvars import copy_context
from itertools import pairwise
from typing import Any

import numpy as np

from .. import rng
from ..backward import sweep
from ..device import Array, array_module, choose_gpu, to_host
from ..errors import ConfigError, ShapeError
from ..modes import switched
from ..nn import Module
from ..tensor import Tensor
from .buckets import Buckets
from .interrupt import SIGNALS
from .metrics import measure
from .settings import Settings
from .step import gradients, one_number
from .team import Team

SHARDS = 4  # of a deterministic batch


BUCKET = 1 << 20  # bytes of gradients that are sent together; docs/distributed.md measures it


class Link:
    """How arrays travel between the processes. Here there is one process, and nothing travels."""

    def gather(self, own: Array, lengths: Sequence[int]) -> Array:
        """All processes' rows. lengths: how many each of them has."""
        return own

    def begin(self, part: Array) -> Callable[[], Any]:
        """Begin to turn the array into the sum of all processes' arrays; returns what waits."""
        return lambda: None


class Shards(Team):
    """Shares each batch out. count: how many shards; own: the numbers of this process's.

    deterministic: add in one order, `tree_sum`'s, so that one process with four shards computes the
    same bytes as two with two or four with one. joined: whether batch normalisation takes the
    moments of the whole batch.
    A batch with fewer images than shards is computed whole, by every process in the same way.
    """

    def __init__(
        self, own: range, count: int, link: Link, *, deterministic: bool, joined: bool
    ) -> None:
        super().__init__()
        self.count, self.own, self.link = count, own, link
        self.deterministic, self.joined = deterministic, joined
        self._models: list[Module] = []
        self._stop: int | None = None

    def bounds(self, rows: int) -> list[int]:
        """Where each shard of so many rows begins, and where the last one ends."""
        return [i * rows // self.count for i in range(self.count + 1)]

    def rows(self, count: int) -> slice:
        """Which rows of a batch are this process's: all of a batch too small to be shared."""
        if count < self.count:
            return slice(0, count)
        bounds = self.bounds(count)
        return slice(bounds[self.own.start], bounds[self.own.stop])

    def check(self, batch_size: int) -> None:
        """Raises: ConfigError for batches that are too small to be shared."""
        if batch_size < self.count:
            raise ConfigError(
                f"fit: expected batches of at least one image for each of {self.count} shards, got "
                f"batches of {batch_size}; start fewer processes, or give a larger batch_size"
            )

    def stopped_by(self) -> int | None:
        """The signal that any process had got when the last gradients were added."""
        return self._stop

    def begin(self, session: Any, about: dict[str, Any], say: Callable[[str], Any]) -> None:
        """Before the first step: no signal has come."""
        self._stop = None

    def gradients(self, job: Settings, x: Tensor, targets: Array) -> Array:
        """As `step.gradients`, for the whole batch. x: this process's rows; targets: all rows."""
        rows = len(targets)
        if rows < self.count:
            return gradients(job, x, targets)
        bounds, meeting = self.bounds(rows), _Meeting(len(self.own), self.link)
        shards = [_Shard(self, meeting, i, bounds) for i in self.own]
        models = self._copies(job.model)
        first = bounds[self.own.start]

        def work(i: int) -> tuple[Tensor, Tensor, Array, Any]:
            shard = shards[i]
            own = x.data[shard.rows.start - first : shard.rows.stop - first]
            return self._compute(job, models[i], shard, Tensor(own), targets)

        found = meeting.run(work, job.device == "cuda")
        loss, whole, buckets, direct = found[0]
        if self.deterministic:
            total = tree_sum([each.flat for _, _, each, _ in found])
            buckets.flat = tree_sum(list(self.link.gather(total[None], [1] * self.size)))
        self._take(job, buckets, direct)
        return measure(job, loss, whole, targets)

    def _copies(self, model: Module) -> list[Module]:
        """A model for each own shard: the first is the model, the others share its parameters.

        Their buffers are their own, so that running means move once for each batch. Hooks look at
        the first shard alone.
        """
        if not self._models or self._models[0] is not model:
            shared: dict[int, Any] = {id(p): p for p in model.parameters()}
            shared |= {id(m._forward_hooks): [] for _, m in model.named_modules()}
            copies = (copy.deepcopy(model, dict(shared)) for _ in self.own[1:])
            self._models = [model, *copies]
        return self._models

    def _compute(
        self, job: Settings, model: Module, shard: "_Shard", x: Tensor, targets: Array
    ) -> tuple[Tensor, Tensor, Buckets, dict[int, Tensor]]:
        """Loss and outputs of the batch, and the gradients by the weights of one shard.

        The last two are those that are to be added, and those by parameter that are the same for
        each shard.
        """
        trained = [p for p in job.parameters if p.requires_grad]
        extra = len(SIGNALS) + sum(b.size for b in self._averaged(job))
        begin = None if self.deterministic else self.link.begin
        buckets = Buckets(trained, extra, BUCKET, begin)
        with switched("joint", shard if self.joined else None), rng.using(shard.randomness()):
            y = model(x)
            if not isinstance(y, Tensor) or y.shape[:1] != x.shape[:1]:
                got = f"shape {y.shape}" if isinstance(y, Tensor) else type(y).__name__
                raise ShapeError(
                    "Trainer: expected the model to give one row of outputs for each of the "
                    f"{len(x)} images of a shard, got {got}; such a batch cannot be shared"
                )
            whole = Tensor(shard.gather(y.data))
            whole.requires_grad = True
            loss = one_number(job.loss(whole, Tensor(targets)))
            direct = {id(t): g for t, g in _swept(loss, whole._module.ones_like(loss.data))}
            by_output = direct.pop(id(whole), None)
            pairs: list[Any] = []
            if by_output is not None and y.requires_grad:
                buckets.watch(y)
                pairs = _swept(y, by_output.data[shard.rows])
        signals = np.array([s == self.request.number for s in SIGNALS])
        buckets.finish(pairs, [signals, *(b.data for b in self._averaged(job))])
        return loss, whole, buckets, direct

    def _averaged(self, job: Settings) -> list[Tensor]:
        """The running moments, where each process normalises its own share."""
        if self.joined:
            return []
        known = {id(p) for p in job.parameters}
        state = job.model._state().values()
        return [t for t in state if id(t) not in known and t.dtype.kind == "f"]

    def _take(self, job: Settings, buckets: Buckets, direct: dict[int, Tensor]) -> None:
        """Take note of the signals, and give each parameter its gradient."""
        flat, at = buckets.flat, len(SIGNALS)
        signals = to_host(flat[:at])
        self._stop = next((s for s, n in zip(SIGNALS, signals, strict=True) if n), None)

        def part(like: Tensor) -> Array:
            nonlocal at
            array = like._module.empty_like(like.data)  # in the memory order of the values
            array[...] = flat[at : at + like.size].reshape(like.shape)
            at += like.size
            return array

        for buffer in self._averaged(job):
            buffer.data = part(buffer) / self.count
        for p in buckets.parameters:
            found = [Tensor(part(p))] if buckets.given(p) else []
            at += 0 if found else p.size
            found += [direct[id(p)]] if id(p) in direct else []
            p.grad = sum(found[1:], start=found[0]) if found else None


def in_four(rank: int, size: int) -> range:
    """The shards of one of `size` processes, where each batch is cut into four.

    Raises: ConfigError where they cannot be shared equally.
    """
    if SHARDS % size:
        raise ConfigError(
            f"Trainer: deterministic=True cuts each batch into {SHARDS} shards, expected 1, 2 or 4 "
            f"processes, got {size}"
        )
    each = SHARDS // size
    return range(rank * each, (rank + 1) * each)


def _swept(y: Tensor, g: Array) -> list[tuple[Tensor, Tensor]]:
    """(leaf, gradient) for each leaf that y was computed from."""
    if not y.requires_grad:
        y.backward()  # raises, and says what is missing
    return sweep([(y, Tensor(g))], retain_graph=False, create_graph=False)


def tree_sum(arrays: list[Array]) -> Array:
    """((a + b) + (c + d)), in place: the same order however many processes hold them."""
    while len(arrays) > 1:
        for i in range(0, len(arrays) - 1, 2):
            arrays[i] += arrays[i + 1]
        arrays = arrays[::2]
    return arrays[0]


class _Shard:
    """One shard of a batch, and what it asks of the others (`modes.Joint`)."""

    def __init__(self, team: Shards, meeting: "_Meeting", number: int, bounds: list[int]) -> None:
        self.sizes = [stop - start for start, stop in pairwise(bounds)]
        self.rows = slice(bounds[number], bounds[number + 1])
        self._number, self._turn = number, number - team.own.start
        self._each_has, self._meeting = len(team.own), meeting
        self._source = rng.generator().bit_generator
        if self._turn:  # only one of this process's shards moves the process's generator on
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
        """One row of every shard, made of the values."""
        own = values[0].reshape(1, -1)
        if len(values) > 1:
            own = array_module(own).stack(values)[None]
        return self._meeting.gather(self._turn, own, self._by_process([1] * len(self.sizes)))

    def count(self, own: int) -> int:
        """The values of a channel in the batch: each image has as many as the others."""
        return own // self.sizes[self._number] * sum(self.sizes)

    def moments(self, mean: Array, variance: Array, own: int) -> tuple[Array, Array]:
        """Joined as `kernels.cpu.batch_norm` joins those of its tiles."""
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
        """Added as the gradients are."""
        total = tree_sum([part.copy() for part in self._each(first, second)])
        return total[0], total[1]


class _Meeting:
    """Where the shards of one process wait for each other.

    One shard is simply computed. Several take turns, each in a thread of its own: one computes
    until it needs something of the others, and hands over to the next. So only one thread works at
    a time, always in the same order, and its kernels have all of minidl's threads.
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
                raise InterruptedError  # nobody sees it: the error of the other shard is raised
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
                    choose_gpu()  # CUDA asks each thread anew
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
