"""A batch that is cut into shards: each is computed by itself, and all gradients are added.

The loss of a batch depends on the outputs of all its images. So every shard runs the model on its
own images; the outputs, which are small, are put together; the loss of the whole batch is computed
from them, in each process in the same way; and each shard carries back the gradient by its own
outputs. With w the weights and y_s the outputs of shard s,

    dL/dw = Σ_s (dy_s/dw)ᵀ dL/dy_s.

This holds for every loss of outputs and targets, also for one that weights its classes, and for
shards of different sizes. A loss may use the weights w directly too, as a penalty does. Every shard
computes that part of the gradient in full. So each of S shards adds only 1/S of it.

Batch normalisation needs moments of the whole batch: the shards meet in each such layer, forward
and backward (`meeting.Shard`). Random numbers are drawn for the whole batch, and each shard takes
its rows.
"""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import rng
from ..backward import sweep
from ..device import Array, to_host
from ..errors import ConfigError, ShapeError
from ..modes import switched
from ..nn import Module
from ..tensor import Tensor
from .buckets import Buckets
from .interrupt import SIGNALS
from .meeting import Link, Meeting, Shard, tree_sum
from .metrics import measure
from .settings import Settings
from .step import gradients, one_number
from .team import Team

SHARDS = 4  # of a deterministic batch


BUCKET = 1 << 20  # bytes of gradients that are sent together; docs/distributed.md measures it


class Shards(Team):
    """Cuts each batch into `count` shards. own: the numbers of this process's shards.

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
        """The first row of each shard of a batch of `rows`, and the end of the last shard."""
        return [i * rows // self.count for i in range(self.count + 1)]

    def rows(self, count: int) -> slice:
        """This process's rows of a batch of `count`; all rows if it is too small to be shared."""
        if count < self.count:
            return slice(0, count)
        bounds = self.bounds(count)
        return slice(bounds[self.own.start], bounds[self.own.stop])

    def check(self, batch_size: int) -> None:
        """Raise ConfigError for batches that are too small to be shared."""
        if batch_size < self.count:
            raise ConfigError(
                f"fit: expected batches of at least one image for each of {self.count} shards, got "
                f"batches of {batch_size}; start fewer processes, or give a larger batch_size"
            )

    def stopped_by(self) -> int | None:
        """The signal that some process had received when the last gradients were added, or None."""
        return self._stop

    def begin(self, session: Any, about: dict[str, Any], say: Callable[[str], Any]) -> None:
        """Before the first step: forget an earlier run's signal and its copies of the model."""
        self._stop, self._models = None, []

    def gradients(self, job: Settings, x: Tensor, targets: Array) -> Array:
        """As `step.gradients`, for the whole batch. x: this process's rows; targets: all rows."""
        rows = len(targets)
        if rows < self.count:
            return gradients(job, x, targets)
        bounds, meeting = self.bounds(rows), Meeting(len(self.own), self.link)
        shards = [Shard(meeting, self.own, i, bounds) for i in self.own]
        models = self._copies(job.model)
        first = bounds[self.own.start]

        def work(i: int) -> tuple[Tensor, Buckets]:
            shard = shards[i]
            own = x.data[shard.rows.start - first : shard.rows.stop - first]
            return self._compute(job, models[i], shard, Tensor(own), targets)

        found = meeting.run(work, job.device == "cuda")
        outputs, buckets = found[0]
        if self.deterministic:
            total = tree_sum([each.flat for _, each in found])
            buckets.flat = tree_sum(list(self.link.gather(total[None], [1] * self.size)))
        loss = self._take(job, buckets)
        return measure(job, Tensor(loss), outputs, targets)

    def _copies(self, model: Module) -> list[Module]:
        """A model for each own shard: the first is the model, the others share its parameters.

        Each copy has its own buffers, so that the model's running means move once for each batch.
        The copies have no hooks.
        """
        if not self._models or self._models[0] is not model:
            shared: dict[int, Any] = {id(p): p for p in model.parameters()}
            shared |= {id(m._forward_hooks): [] for _, m in model.named_modules()}
            copies = (copy.deepcopy(model, dict(shared)) for _ in self.own[1:])
            self._models = [model, *copies]
        return self._models

    def _compute(
        self, job: Settings, model: Module, shard: Shard, x: Tensor, targets: Array
    ) -> tuple[Tensor, Buckets]:
        """(outputs of the whole batch, gradients of one shard, to be added to the others')."""
        trained = [p for p in job.parameters if p.requires_grad]
        extra = 1 + len(SIGNALS) + sum(b.size for b in self._averaged(job))
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
            by_leaf = {id(t): g for t, g in _swept(loss, whole._module.ones_like(loss.data))}
            by_output = by_leaf.pop(id(whole), None)
            buckets.begin_with(by_leaf, 1 / self.count)
            pairs: list[Any] = []
            if by_output is not None and y.requires_grad:
                buckets.watch(y)
                pairs = _swept(y, by_output.data[shard.rows])
        signals = np.array([s == self.request.number for s in SIGNALS])
        averages = [loss.data, *(b.data for b in self._averaged(job))]
        buckets.finish(pairs, [signals, *(part / self.count for part in averages)])
        return whole, buckets

    def _averaged(self, job: Settings) -> list[Tensor]:
        """The running moments, to be averaged, if each process normalises its own images; or []."""
        if self.joined:
            return []
        known = {id(p) for p in job.parameters}
        state = job.model._state().values()
        return [t for t in state if id(t) not in known and t.dtype.kind == "f"]

    def _take(self, job: Settings, buckets: Buckets) -> Array:
        """Read the summed array: note signals, set each parameter's gradient, return the loss."""
        flat, at = buckets.flat, len(SIGNALS)
        signals = to_host(flat[:at])
        self._stop = next((s for s, n in zip(SIGNALS, signals, strict=True) if n), None)

        def part(like: Tensor) -> Array:
            nonlocal at
            array = like._module.empty_like(like.data)  # in the memory order of the values
            array[...] = flat[at : at + like.size].reshape(like.shape)
            at += like.size
            return array

        loss, at = flat[at], at + 1
        for buffer in self._averaged(job):
            buffer.data = part(buffer)
        for p in buckets.parameters:
            gradient = Tensor(part(p))
            p.grad = gradient if buckets.given(p) else None
        return loss


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
