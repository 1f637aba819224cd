"""The epochs of a training: batch after batch, measured, recorded, saved."""

import math
import warnings
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from .. import device, rng
from ..data import Dataset
from ..device import Array
from ..kernels.gpu.launch import compiled
from ..tensor import Tensor
from . import metrics
from .capture import Captured, foreign
from .evaluation import evaluate
from .fitting import too_large
from .interrupt import Stopped, interrupted
from .nonfinite import CURES, NotFiniteError, explain
from .progress import LossJump, Progress
from .session import Session
from .settings import Settings
from .step import gradients, step
from .whole import NotRecordedError, WholeSteps, obstacle

AHEAD = 4  # steps that may be started on a GPU before the numbers of the first of them are read
_HOOKS = ("start", "before_step", "before_update", "after_update", "finish")


class At(NamedTuple):
    """A step: its position, its learning rate and its batch on the host."""

    step: int
    epoch: int
    batch: int
    rate: float
    images: np.ndarray
    labels: np.ndarray
    randomness: Any  # the generator's state before the step


class Loop:
    """The steps and epochs from a session's position to the end."""

    def __init__(
        self,
        job: Settings,
        session: Session,
        validation: Dataset | None,
        epochs: int,
        checkpoint_every: int | None,
        progress: bool,
        patience: int | None = None,
    ) -> None:
        self.job, self.session, self.validation = job, session, validation
        self.loader, self.history = session.loader, session.history
        self.epochs, self.every, self.patience = epochs, checkpoint_every, patience
        self.names = [name for name, _ in job.model.named_parameters()]
        self.team = job.team
        self.progress = Progress(epochs, len(self.loader), show=progress and self.team.rank == 0)
        monitors = list(job.monitors)
        if not any(isinstance(m, LossJump) for m in monitors):
            monitors.append(LossJump(self.progress.say, CURES["rate"]))
        self._hooks: dict[str, list[Callable[..., Any]]] = {
            hook: [getattr(m, hook) for m in monitors if hasattr(m, hook)] for hook in _HOOKS
        }
        self._compute = job.team.gradients or gradients
        self._whole: WholeSteps | None = None
        self._unread: deque[tuple[At, Any]] = deque()  # steps whose numbers are on their way
        self._choose_graph(watched=any(not isinstance(m, LossJump) for m in job.monitors))

    def _choose_graph(self, watched: bool) -> None:
        """Decide what of a step becomes a CUDA graph: all of it, its gradients, or nothing."""
        job = self.job
        able = job.device != "cpu" and compiled(np.dtype(np.float32))
        if not job.capture or (job.capture == "auto" and not able):
            return
        why = foreign(job) if job.capture == "auto" else None
        if job.team.gradients is not None:
            why = "the batch is in shards, which meet within a step"
        if why is not None:
            self._without_graph(why)
        elif watched or job.device == "cpu" or obstacle(job) is not None:
            self._compute = Captured(job, gradients, self._without_graph)
        else:
            self._whole = WholeSteps(job)

    def _without_graph(self, why: str) -> None:
        if self.job.capture == "auto":
            self.progress.say(f"training without CUDA graphs: {why}")
        else:
            warnings.warn(
                f"Trainer(capture=True): launches are started one by one, not recorded: {why}",
                stacklevel=2,
            )

    def run(self) -> None:
        """Train to the end. See `Trainer.fit`."""
        try:
            self._train()
        except BaseException:
            with suppress(Exception):  # the first error is the one to tell
                self._end()
            raise
        self._end()

    def _end(self) -> None:
        """Let the monitors finish, and close what is open, each even if another one fails."""
        finish = [partial(method, self.job) for method in self._hooks["finish"]]
        errors = []
        acts: tuple[Callable[[], Any], ...] = (self._leave_graphs, *finish)
        for act in (*acts, self.progress.close, self.session.close):
            try:
                act()
            except BaseException as error:
                errors.append(error)
        if errors:
            raise errors[0]

    def _train(self) -> None:
        session = self.session
        self.job.model.train()
        try:
            # NumPy need not warn of an overflow: the loss of every step is checked for it.
            with (
                np.errstate(over="ignore", invalid="ignore", divide="ignore"),
                self.team.together(),
                interrupted() as self.team.request,
            ):
                self.progress.start()
                self._call("start")
                while session.epoch < self.epochs and not self._is_stale():
                    self._one_epoch()
            if self.patience is not None:
                session.take_best()
        except KeyboardInterrupt as stop:
            self._read()
            number = getattr(stop, "number", 2)
            said = self.team.first(lambda: session.stop(self.epochs))
            raise Stopped(said, number) from None

    def _one_epoch(self) -> None:
        session = self.session
        self.loader.epoch = session.epoch
        for images, labels in self.loader.iterate(session.batch):
            session.whole = False
            try:
                self._one_step(images, labels)
            except MemoryError as error:
                raise too_large(self.job, images, labels, error) from error
            session.step += 1
            session.batch += 1
            last = session.batch == len(self.loader)
            session.whole = not last
            self._call("after_update", session.step - 1)
            if self.every and session.step % self.every == 0 and not last:
                self._read()
                session.save()
            if not last:
                self._stop_if_asked()
        self._read()
        self._end_epoch()
        self._stop_if_asked()

    def _stop_if_asked(self) -> None:
        number = self.team.stopped_by()
        if number is not None:
            raise Stopped("", number)

    def _is_stale(self) -> bool:
        """Whether the validation loss has reached no new minimum in the last `patience` epochs."""
        best = self.history.best_epoch
        if self.patience is None or self.session.batch:
            return False
        if self.session.epoch - (best or 0) < self.patience:
            return False
        why = (
            "the validation loss was never finite; the weights are those of this epoch"
            if best is None
            else f"the validation loss has not fallen for {self.session.epoch - best} epochs; the "
            f"weights are those of epoch {best}"
        )
        self.progress.say(f"stopped after epoch {self.session.epoch}: {why}")
        return True

    def _one_step(self, images: np.ndarray, labels: np.ndarray) -> None:
        job, session = self.job, self.session
        if job.schedule is not None:
            job.optimizer.lr = job.schedule(session.step)
        rate = float(job.optimizer.lr)
        randomness = rng.generator().bit_generator.state
        at = At(session.step, session.epoch, session.batch, rate, images, labels, randomness)
        numbers = self._start_whole(at)
        if numbers is not None:
            self._unread.append((at, numbers))
            self._read(AHEAD)
            return
        self._read()
        targets = job.place_targets(labels)
        job.batch = images, targets[self.team.rows(len(targets))]
        self._call("before_step", at.step)
        try:
            step(job, job.place(images), targets, partial(self._look, at), self._compute)
        except _NotFinite as found:
            raise self._not_finite(at, *found.args) from None

    def _start_whole(self, at: At) -> Any:
        """Start the step as one graph; None where there is none."""
        if self._whole is None:
            return None
        try:
            return self._whole.start(
                self.job.fitting(at.images), self.job.fitting_targets(at.labels)
            )
        except NotRecordedError as error:
            self._read()  # the GPU is done with the other graphs, which go now
            self._whole = None
            self._without_graph(str(error))
            return None

    def _read(self, left: int = 0) -> None:
        """Record the numbers of the steps that were started as graphs, but for the last ones."""
        while len(self._unread) > left:
            at, numbers = self._unread[0]
            measured = numbers.read()  # a signal may end the training while the host waits here
            self._unread.popleft()
            if not self._unread:
                self.job.batch = at.images, self.job.place_targets(at.labels)
            try:
                self._look(at, measured)
            except _NotFinite as found:
                numbers.take_back()
                for _, later in self._unread:  # they have changed no weights either
                    later.read()  # so that the GPU writes no more into the memory of `later`
                    later.take_back()
                self._unread.clear()
                self.job.batch = at.images, self.job.place_targets(at.labels)
                raise self._not_finite(at, *found.args) from None

    def _leave_graphs(self) -> None:
        """Finish what the GPU has begun; copy gradients from the graphs' memory, which goes now."""
        with suppress(Exception):  # another error may be on its way
            self._read()
        if self._whole is not None or isinstance(self._compute, Captured):
            kept = [(p, p.grad) for p in self.job.parameters if p.grad is not None]
            self.job.forget_gradients()
            with suppress(Exception):
                for p, gradient in kept:
                    p.grad = Tensor(gradient.data.copy())

    def _look(self, at: At, measured: Array) -> float:
        """Record a step's numbers; returns the norm of all gradients.

        Raises: _NotFinite where loss or norm is not finite.
        """
        job = self.job
        value, share, *norms = device.to_host(measured).tolist()
        total, layers = metrics.combine(self.names, norms)
        job.loss_value = value
        row = at.step, at.epoch + 1, at.rate, value, share, total, *layers.values()
        self.history.add_step(row)
        self._call("before_update", at.step)
        if not (math.isfinite(value) and math.isfinite(total)):
            raise _NotFinite(value, layers)
        self.progress.step(at.epoch + 1, at.batch + 1, value, share, at.rate, total)
        return total

    def _end_epoch(self) -> None:
        sizes = np.full(len(self.loader), self.loader.batch_size)
        sizes[-1] = min(sizes[-1], len(self.loader.dataset) - sizes[:-1].sum())
        means = [
            np.average(self.history.column(name, len(sizes)), weights=sizes)
            for name in ("loss", "accuracy")
        ]
        self.session.check_weights()
        measured = {} if self.validation is None else evaluate(self.job, self.validation)
        row = [self.session.epoch + 1, *means, *measured.values(), self.session.seconds]
        self.history.add_epoch(row)
        if self.patience is not None:
            self.session.keep_best()
        self.session.next_epoch()
        self.session.save()
        self.progress.epoch(self.history.last)

    def _call(self, hook: str, *position: int) -> None:
        for method in self._hooks[hook]:
            method(self.job, *position)

    def _not_finite(self, at: At, loss: float, layers: dict[str, float]) -> NotFiniteError:
        session = self.session
        rng.generator().bit_generator.state = at.randomness
        bad = [name for name, norm in layers.items() if not math.isfinite(norm)]
        what = f"the loss is {loss}"
        if math.isfinite(loss):
            what = f"loss {loss:.4g}, but the gradients of layer {', '.join(bad)} are not finite"
        place = f"step {at.step} (epoch {at.epoch + 1}, batch {at.batch + 1})"
        kept = self.team.first(session.keeps)
        if self.team.size > 1:  # each process searches the whole batch, and finds the same
            images, labels = self.loader.whole(at.batch)
            self.job.batch = images, self.job.place_targets(labels)
        what = f"fit: {what} at {place}, so training stopped before that update{kept}"
        # The last two steps of the history are the update before and this step.
        rate = float(self.history.column("learning_rate", 2)[0])
        return explain(self.job, what, rate)


class _NotFinite(Exception):
    """The loss of a step, and the norms of its layers' gradients, where they are not finite."""
