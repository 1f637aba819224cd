"""The Trainer: a model, its loss and its optimizer, taught with data."""

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from .. import device, rng
from ..data import DataLoader, Dataset
from ..device import Array
from ..errors import ConfigError, DataError, ShapeError
from ..modes import no_grad
from ..nn import Module
from ..ops import cross_entropy, softmax
from ..tensor import Tensor
from .files import remove_parts
from .history import History
from .loop import Loop
from .metrics import accuracy
from .settings import Clip, check_optimizer, clipper

Data = Dataset | tuple[Any, Any]
Metric = Callable[[np.ndarray, np.ndarray], float]
_BATCH = 256  # where nothing is learned, the batch size changes no result


class Trainer:
    """Trains a model that ends in logits, and measures it.

    loss: (logits (N, K), labels (N,)) -> scalar Tensor, a mean over the batch.
    schedule: step (from 0) -> learning rate, set before each step.
    clip: the largest global gradient norm, or a function of the list of parameters that changes
    their gradients, such as functools.partial(md.optim.clip_grad_value, limit=1.0).
    metrics: functions of (logits (N, K), labels (N,)) as NumPy arrays over a whole dataset,
    reported by `evaluate` under their `__name__`.
    monitors: objects with any of the methods start(trainer), before_step(trainer, step),
    before_update(trainer, step) (gradients are there, not yet clipped), after_update(trainer,
    step), finish(trainer). In them `trainer.batch` is (images, labels) on the device,
    `trainer.loss_value` the loss of the step, `trainer.history` what was recorded before it.
    seed: decides the order of the data, augmentation and dropout; drawn from
    `md.manual_seed`'s generator if it is not given.
    capture: on a GPU, record forward and backward pass once as a CUDA graph and start it with one
    launch. Model and loss must do the same launches in every step; what cannot be recorded
    (Dropout, which draws on the host, a GradientMonitor) goes on without, after a warning.
    """

    def __init__(
        self,
        model: Module,
        *,
        loss: Callable[[Any, Any], Tensor] = cross_entropy,
        optimizer: Any,
        schedule: Callable[[int], float] | None = None,
        clip: Clip | None = None,
        metrics: Sequence[Metric] = (),
        monitors: Sequence[Any] = (),
        device: str | None = None,
        seed: int | None = None,
        capture: bool = False,
    ) -> None:
        self.model = model.to(device) if device is not None else model
        self.loss = loss
        self.optimizer = optimizer
        self.schedule = schedule
        self.metrics = tuple(metrics)
        self.monitors = tuple(monitors)
        self.seed = seed
        self.capture = capture
        self.history = History()
        self.batch: tuple[Array, Array] | None = None
        self.loss_value = float("nan")
        self.parameters = list(model.parameters())
        if not self.parameters:
            raise ConfigError("Trainer: expected a model with parameters, got one without any")
        check_optimizer("Trainer", optimizer, self.parameters)
        self.clip = clipper("Trainer", clip)

    @property
    def device(self) -> str:
        """'cpu' or 'cuda': where the model is."""
        return self.parameters[0].device

    def fit(
        self,
        train: Data,
        *,
        validation: Data | None = None,
        epochs: int,
        batch_size: int,
        out: str | os.PathLike[str] | None = None,
        resume: bool = False,
        progress: bool = True,
        transform: Callable[..., np.ndarray] | None = None,
        checkpoint_every: int | None = None,
    ) -> History:
        """Train for `epochs` passes over the data, in an order that the seed decides.

        train, validation: a Dataset (an ImageFolder is one) or a pair (images, labels).
        out: a folder for model.safetensors, checkpoint/ and history.csv; checkpoints are written
        at the start, after each epoch and every `checkpoint_every` steps.
        resume: go on from the newest checkpoint in `out`, or start where there is none. Weights
        and history come out as if the run had never stopped, bit for bit (but for the seconds).
        transform: augmentation of the training batches, as in DataLoader.
        Raises: DataError where validation has labels that train lacks; GradientError as soon as
        a loss or gradient is not finite (the weights of the last checkpoint stay);
        CheckpointError where `out` cannot be written or resumed; KeyboardInterrupt after Ctrl-C,
        when a checkpoint is written.
        """
        for name, count in (("epochs", epochs), ("checkpoint_every", checkpoint_every)):
            if count is not None and (isinstance(count, bool) or not _whole(count) or count < 1):
                raise ConfigError(f"fit: expected {name} as an int of at least 1, got {count!r}")
        if resume and out is None:
            raise ConfigError("fit: resume=True needs out, the folder of the run")
        seed = self.seed
        if seed is None:
            seed = int(rng.generator().integers(2**31))
        else:
            rng.manual_seed(seed)
        loader = DataLoader(
            as_dataset(train), batch_size, shuffle=True, seed=seed, transform=transform
        )
        held_out = None if validation is None else as_dataset(validation)
        if held_out is not None:
            _same_labels(loader.dataset, held_out)
        if out is not None:
            remove_parts(out, "history.csv", "model.safetensors")
        loop = Loop(self, loader, held_out, epochs, out, checkpoint_every, progress)
        return loop.run(resume=resume)

    def evaluate(self, data: Data, *, batch_size: int = _BATCH) -> dict[str, float]:
        """{"loss", "accuracy", and the metrics} over all the data, without training."""
        dataset = as_dataset(data)
        logits = np.concatenate(list(self._logits(dataset.images, batch_size)))
        with np.errstate(over="ignore", invalid="ignore"), no_grad():
            loss = self.loss(Tensor(logits), Tensor(dataset.labels)).item()
        results = {"loss": float(loss), "accuracy": float(accuracy(logits, dataset.labels))}
        for metric in self.metrics:
            results[getattr(metric, "__name__", repr(metric))] = float(
                metric(logits, dataset.labels)
            )
        return results

    def predict(self, x: Any, *, batch_size: int = _BATCH) -> np.ndarray:
        """The probability of each class, softmax of the logits; x (N, C, H, W) or a Dataset.

        Shapes: (N, K), rows add up to 1.
        """
        if not isinstance(x, Dataset):
            images = _host(x)
            if images.ndim != 4:
                raise ShapeError(
                    f"predict: expected images of shape (N, C, H, W), got {images.shape}; write "
                    "image[None] for a single image"
                )
            x = Dataset(images, np.zeros(len(images), dtype=np.int64))
        parts = self._logits(x.images, batch_size)
        with no_grad():
            return np.concatenate([softmax(logits, axis=1).numpy() for logits in parts])

    def forward(self, images: np.ndarray) -> Tensor:
        """The model's logits for a batch."""
        return self.model(self.place(images))

    def place(self, images: np.ndarray) -> Tensor:
        """A batch in the model's dtype and on its device."""
        first = self.parameters[0]
        x = images.astype(first.dtype, copy=False)
        if x is not images and not np.isfinite(x).all():
            raise DataError(
                f"Trainer: expected images within {first.dtype}, the model's dtype, got values up "
                f"to {np.abs(images).max():.3g}; scale or standardise them"
            )
        return Tensor(device.to_device(x, first.device))

    def _logits(self, images: np.ndarray, batch_size: int) -> Iterator[np.ndarray]:
        training = self.model.training
        self.model.eval()
        try:
            for start in range(0, len(images), batch_size):
                with no_grad(), np.errstate(over="ignore", invalid="ignore"):
                    yield self.forward(images[start : start + batch_size]).numpy()
        finally:
            self.model.train(training)


def as_dataset(data: Data) -> Dataset:
    """A Dataset from a Dataset or a pair (images, labels)."""
    if isinstance(data, Dataset):
        return data
    try:
        images, labels = data
    except (TypeError, ValueError):
        raise DataError(
            f"Trainer: expected a Dataset or a pair (images, labels), got {type(data).__name__}"
        ) from None
    return Dataset(_host(images), _host(labels))


def _same_labels(train: Dataset, validation: Dataset) -> None:
    missing = np.setdiff1d(validation.labels, train.labels)
    if missing.size:
        count = int(np.isin(validation.labels, missing).sum())
        names = ", ".join(validation.classes[k] for k in missing)
        raise DataError(
            f"fit: {count} of {len(validation)} validation images have labels that are missing "
            f"from the training part: {names}; add such images to it, or remove them"
        )


def _host(values: Any) -> np.ndarray:
    if isinstance(values, Tensor):
        return values.numpy()
    return device.to_host(values) if hasattr(values, "get") else np.asarray(values)


def _whole(value: Any) -> bool:
    return isinstance(value, int | np.integer)
