"""One call of `Trainer.fit`: the steps, the files beside them, and how a run goes on."""

import hashlib
import math
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import device, rng
from ..data import DataLoader, Dataset
from ..device import Array
from ..errors import CheckpointError, GradientError
from ..tensor import Tensor
from . import memory, metrics
from .capture import Captured
from .checkpoint import Checkpoints, host_arrays, pack, put_into, save, unpack
from .files import PathLike, append_text
from .history import History
from .interrupt import interrupted
from .nonfinite import Culprit, backward_culprit, forward_culprit
from .progress import Progress

if TYPE_CHECKING:
    from .trainer import Trainer


class Loop:
    """A run in progress: its position is (step, epoch, batch), each from 0, the next to be done."""

    def __init__(
        self,
        trainer: "Trainer",
        loader: DataLoader,
        validation: Dataset | None,
        epochs: int,
        out: PathLike | None,
        checkpoint_every: int | None,
        progress: bool,
    ) -> None:
        self.trainer = trainer
        self.loader = loader
        self.validation = validation
        self.epochs = epochs
        self.out = None if out is None else Path(out)
        self.every = checkpoint_every
        self.step = self.epoch = self.batch = 0
        self.names = [name for name, _ in trainer.model.named_parameters()]
        reported = [getattr(metric, "__name__", repr(metric)) for metric in trainer.metrics]
        layers = list(dict.fromkeys(metrics.layer_name(name) for name in self.names))
        self.history = trainer.history = History(
            layers, ["loss", "accuracy", *reported] if validation is not None else []
        )
        self.progress = Progress(epochs, len(loader), show=progress)
        self._hooks: dict[str, list[Callable[..., Any]]] = {
            hook: [getattr(m, hook) for m in trainer.monitors if hasattr(m, hook)]
            for hook in ("start", "before_step", "before_update", "after_update", "finish")
        }
        self._written = 0  # rows of the history that are in history.csv
        self._kept: int | None = None  # the step of the newest checkpoint
        self._whole = True  # False inside a step, where the state is half old and half new
        self._culprit: Culprit | None = None
        capture = trainer.capture
        self._work = Captured(trainer.model, self._gradients) if capture else self._gradients
        self._before = 0.0  # seconds of this epoch before the run was resumed

    def run(self, *, resume: bool) -> History:
        """Train to the end. See `Trainer.fit`."""
        trainer = self.trainer
        if self.out is not None:
            checkpoints = Checkpoints(self.out / "checkpoint")
            newest = checkpoints.newest() if resume else None
            if newest is not None:
                self._restore(*newest)
            elif not resume and checkpoints.paths():
                raise CheckpointError(
                    f"fit: {str(self.out)!r} holds a run already; choose another out, or "
                    "resume=True to go on with it"
                )
            self.history.to_csv(self.out / "history.csv")
            self._written = len(self.history)
            if newest is None:
                self._save()
        self._start = time.perf_counter() - self._before
        trainer.model.train()
        try:
            # Overflow shows in the loss, which is looked at in every step.
            with (
                np.errstate(over="ignore", invalid="ignore", divide="ignore"),
                interrupted() as stop,
            ):
                self._call("start")
                while self.epoch < self.epochs:
                    self._one_epoch(stop)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(self._interrupted()) from None
        finally:
            self._call("finish")
            self.progress.close()
            self._append_history()
        return self.history

    def _one_epoch(self, stop: threading.Event) -> None:
        self.loader.epoch = self.epoch
        for images, labels in self.loader.iterate(self.batch):
            self._whole = False
            try:
                self._one_step(images, labels)
            except MemoryError as error:
                raise memory.too_large(self.trainer, images, labels, error) from error
            self.step += 1
            self.batch += 1
            self._whole = True
            self._call("after_update", self.step - 1)
            last = self.batch == len(self.loader)
            if self.every and self.step % self.every == 0 and not last:
                self._save()
            if stop.is_set() and not last:
                raise KeyboardInterrupt
        self._end_epoch()
        self._save()
        if stop.is_set():
            raise KeyboardInterrupt

    def _one_step(self, images: np.ndarray, labels: np.ndarray) -> None:
        trainer, optimizer = self.trainer, self.trainer.optimizer
        if trainer.schedule is not None:
            optimizer.lr = trainer.schedule(self.step)
        rate = float(optimizer.lr)
        targets = device.to_device(labels, trainer.device)
        trainer.batch = (images, targets)
        self._call("before_step", self.step)
        optimizer.zero_grad()
        randomness = rng.generator().bit_generator.state
        value, share, *squares = device.to_host(self._work(trainer.place(images), targets)).tolist()
        total, layers = metrics.combine(self.names, squares)
        trainer.loss_value = value
        self.history.add_step(
            (self.step, self.epoch + 1, rate, value, share, total, *layers.values())
        )
        self._call("before_update", self.step)
        if not (math.isfinite(value) and math.isfinite(total)):
            rng.generator().bit_generator.state = randomness
            raise GradientError(self._not_finite(value, rate, layers))
        if trainer.clip is not None:
            trainer.clip(trainer.parameters, total)
        optimizer.step()
        self.progress.step(self.epoch + 1, self.batch + 1, value, share, rate, total)

    def _gradients(self, x: Tensor, targets: Array) -> Array:
        """Forward and backward: loss, accuracy and each parameter's Σ g², still on the device."""
        trainer = self.trainer
        logits = trainer.model(x)
        loss = trainer.loss(logits, Tensor(targets))
        if device.is_host(loss.data) and not math.isfinite(loss.item()):
            self._culprit = forward_culprit(loss, trainer.model)
        loss.backward()
        squares = [metrics.gradient_square(p) for p in trainer.parameters]
        return device.gather([loss.data, metrics.accuracy(logits.data, targets), *squares])

    def _end_epoch(self) -> None:
        sizes = np.full(len(self.loader), self.loader.batch_size)
        sizes[-1] = len(self.loader.dataset) - sizes[:-1].sum()
        means = [
            np.average(self.history.column(name, len(sizes)), weights=sizes)
            for name in ("loss", "accuracy")
        ]
        measured: dict[str, float] = {}
        if self.validation is not None:
            measured = self.trainer.evaluate(self.validation)
        seconds = time.perf_counter() - self._start
        self.history.add_epoch([self.epoch + 1, *means, *measured.values(), seconds])
        self.epoch += 1
        self.batch = 0
        self._start = time.perf_counter()
        self.progress.epoch(self.history.last)

    def _call(self, hook: str, *position: int) -> None:
        for method in self._hooks[hook]:
            method(self.trainer, *position)

    def _not_finite(self, loss: float, rate: float, layers: dict[str, float]) -> str:
        bad = [name for name, norm in layers.items() if not math.isfinite(norm)]
        if math.isfinite(loss):
            what = f"loss {loss:.4g}, but the gradients of layer {', '.join(bad)} are not finite"
        else:
            what = f"the loss is {loss}"
        source = self._culprit or self._search() or "gone when the same step was run again"
        kept = ""
        if self._kept is not None:
            kept = f"; {str(self.out)!r} keeps the weights and the checkpoint of step {self._kept}"
        return (
            f"fit: {what} at step {self.step} (epoch {self.epoch + 1}, batch {self.batch + 1}), so "
            f"training stopped before that update{kept}. The source: {source}. Lower the learning "
            f"rate (it is {rate:g}), clip the gradients (clip=1.0), standardise the images, or "
            "initialise for the activation (init='he_normal' for ReLU); md.health.doctor says which"
        )

    def _search(self) -> Culprit | None:
        """The maker of the first NaN or Inf, found by running the step once more."""
        trainer = self.trainer
        assert trainer.batch is not None
        images, targets = trainer.batch

        def loss() -> Tensor:
            return trainer.loss(trainer.forward(images), Tensor(targets))

        with np.errstate(all="ignore"):
            forward = loss()
            return forward_culprit(forward, trainer.model) or backward_culprit(loss, trainer.model)

    def _interrupted(self) -> str:
        """Save what can be saved after Ctrl-C; the message that says how to go on."""
        done = f"stopped at step {self.step} (epoch {min(self.epoch + 1, self.epochs)})"
        if self.out is None:
            return f"{done}; without out, nothing was written"
        if self._whole and self._kept != self.step:
            self._save()
        return (
            f"{done}; the checkpoint of step {self._kept} is in {str(self.out)!r}: go on with "
            "resume=True (--resume on the command line)"
        )

    def _append_history(self) -> None:
        if self.out is not None and self._written < len(self.history):
            append_text(self.out / "history.csv", self.history.csv(self._written))
            self._written = len(self.history)

    def _save(self) -> None:
        if self.out is None:
            return
        trainer = self.trainer
        arrays = {f"model.{n}": a for n, a in host_arrays(trainer.model.state_dict()).items()}
        arrays |= {f"history.{name}": a for name, a in self.history.to_arrays().items()}
        state = {
            "position": [self.step, self.epoch, self.batch],
            "optimizer": pack(trainer.optimizer.state_dict(), "optimizer", arrays),
            "random": rng.generator().bit_generator.state,
            "elapsed": time.perf_counter() - self._start if self.batch else 0.0,
            "columns": [self.history.step_names, self.history.epoch_names],
            "run": self._identity(),
        }
        Checkpoints(self.out / "checkpoint").write(self.step, arrays, state)
        save(self.out / "model.safetensors", trainer.model)
        self._kept = self.step
        self._append_history()

    def _identity(self) -> dict[str, Any]:
        data, loader = self.loader.dataset, self.loader
        return {
            "seed": int(loader.seed),
            "batch size": loader.batch_size,
            "images": list(data.images.shape),
            "labels": hashlib.sha256(data.labels.tobytes()).hexdigest()[:16],
            "optimizer": type(self.trainer.optimizer).__name__,
            "augmentation": None if loader.transform is None else repr(loader.transform),
        }

    def _restore(
        self, arrays: dict[str, np.ndarray], state: dict[str, Any], damaged: list[str]
    ) -> None:
        for line in damaged:
            warnings.warn(f"resume: {line}; going on from an earlier one", stacklevel=4)
        assert self.out is not None
        trainer, identity = self.trainer, state["run"]
        if trainer.seed is None:
            self.loader.seed = identity["seed"]
        columns = [list(self.history.step_names), list(self.history.epoch_names)]
        now = self._identity() | {"columns of the history": columns}
        then = identity | {"columns of the history": state["columns"]}
        differ = [f"  {k}: was {then.get(k)}, is {now[k]}" for k in now if now[k] != then.get(k)]
        if differ:
            raise CheckpointError(
                f"resume: the run in {str(self.out)!r} was started in another way:\n"
                + "\n".join(differ)
                + "\nmake them equal again, or start a new run in another folder"
            )
        model = {n[6:]: a for n, a in arrays.items() if n.startswith("model.")}
        put_into(trainer.model, model, str(self.out))
        trainer.optimizer.load_state_dict(unpack(state["optimizer"], arrays))
        rng.generator().bit_generator.state = state["random"]
        self.history.set_arrays({n: arrays[f"history.{n}"] for n in ("steps", "epochs")})
        self.step, self.epoch, self.batch = state["position"]
        self._before = state["elapsed"]
        self._kept = self.step
        save(self.out / "model.safetensors", trainer.model)
