"""The Trainer: a model, its loss and its optimizer, taught with data."""

import os
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np

from .. import device, rng
from ..checks import check
from ..data import DataLoader, Dataset
from ..data.dataset import array_of
from ..errors import ConfigError, DataError, ShapeError
from ..files import PathLike
from ..modes import no_grad
from ..tensor import Tensor
from .evaluation import BATCH, evaluate, everywhere
from .history import History
from .lock import locked
from .loop import Loop
from .metrics import layer_name
from .score import Score
from .session import Session
from .settings import Settings, metric_name

Data = Dataset | tuple[Any, Any]


class Trainer(Settings):
    """Trains a model, and measures it.

    loss: (outputs, targets) -> scalar Tensor, a mean over the batch. For cross_entropy the model
    ends in logits (N, K); targets of other shapes and dtypes suit losses such as mse_loss.
    schedule: step (from 0) -> learning rate, set before each step.
    clip: the largest global gradient norm, or a function of the list of parameters that changes
    their gradients, such as functools.partial(md.optim.clip_grad_value, limit=1.0).
    metrics: functions of (outputs, targets) as NumPy arrays over a whole dataset,
    reported by `evaluate` under their `__name__`.
    monitors: objects with any of the methods start(trainer), before_step(trainer, step),
    before_update(trainer, step) (gradients are there, not yet clipped), after_update(trainer,
    step), finish(trainer). During these calls `trainer.batch` is (images as a NumPy array, labels
    on the device), `trainer.loss_value` the loss of the step, and `trainer.history` the record of
    the run so far.
    seed: decides the order of the data, augmentation and dropout; drawn from
    `md.manual_seed`'s generator if it is not given.
    capture: on a GPU, record a whole step as a CUDA graph, and start each further step by one
    launch; the host reads a step's numbers some steps later. Model and loss must do the same
    launches in every step. "auto" does so if all layers and the loss are minidl's own; True, for
    your own too; False never. With monitors, a clip function, or an optimizer of your own, only the
    gradients are recorded. `evaluate` and `predict` record the second batch of a shape. Some steps
    cannot be recorded, such as those with hooks of your own (see `Module.register_forward_hook`).
    Training then goes on without a graph, and one line says why.
    deterministic: cut each batch into four shards, so that one process, two and four compute the
    same bytes.
    sync_batch_norm: whether BatchNorm2d takes the moments of the whole batch, not of each process's
    own images.

    Started by `mpiexec -n 4`, four processes share each batch, and the losses are those of one
    process. Each process must make the same calls. `trainer.team.rank` is the number of this
    process (docs/distributed.md).
    """

    _axes: int | None = None  # of the inputs, once `fit` has seen them
    _classes: tuple[str, ...] = ()  # the names of its labels, then

    def fit(
        self,
        train: Data,
        *,
        validation: Data | None = None,
        epochs: int,
        batch_size: int,
        out: PathLike | None = None,
        resume: bool = False,
        progress: bool = True,
        transform: Callable[..., np.ndarray] | None = None,
        checkpoint_every: int | None = None,
        patience: int | None = None,
        drop_last: bool = False,
    ) -> History:
        """Train for `epochs` passes over the data, in an order that the seed decides.

        train, validation: a Dataset (an ImageFolder is one) or a pair (images, labels).
        out: a folder for model.safetensors, checkpoint/ and history.csv; checkpoints are written
        at the start, after each epoch and every `checkpoint_every` steps.
        resume: go on from the newest checkpoint in `out`, or start where there is none. A folder
        that has weights but no checkpoint is refused, because they would be lost. Weights
        and history come out as if the run had never stopped, bit for bit (but for the seconds).
        transform: augmentation of the training batches, as in DataLoader.
        patience: stop when the validation loss has reached no new minimum for so many epochs. At
        the end the model has the weights of the best epoch, even if all epochs were trained. With
        `out` they are in best.safetensors, beside those of the last epoch.
        drop_last: leave out the smaller last batch of each epoch. A batch of one has no variance
        for BatchNorm2d after a Dense layer.
        Raises: DataError where validation has labels that train lacks, or where a label means
        another class; GradientError as soon as a loss or gradient is not finite (the weights of the
        last checkpoint stay; the error's `culprit` is what `md.health.find_culprit` found);
        CheckpointError where `out` cannot be written or resumed, or another training fills it;
        KeyboardInterrupt after Ctrl-C or SIGTERM, once a checkpoint is written.
        """
        counts = {"epochs": epochs, "checkpoint_every": checkpoint_every, "patience": patience}
        for name, count in counts.items():
            if count is not None and (isinstance(count, bool) or not _whole(count) or count < 1):
                raise ConfigError(f"fit: expected {name} as an int of at least 1, got {count!r}")
        if out is not None and not os.fspath(out):
            raise ConfigError("fit: expected out as the path of a folder, got ''")
        if resume and out is None:
            raise ConfigError("fit: resume=True needs out, the folder of the run")
        if patience is not None and validation is None:
            raise ConfigError("fit: patience needs validation, the data whose loss is watched")
        seed = self.seed
        if seed is None:
            drawn = int(rng.generator().integers(2**31))
            seed = self.team.first(lambda: drawn)
        loader = DataLoader(
            as_dataset(train),
            batch_size,
            shuffle=True,
            seed=seed,
            drop_last=drop_last,
            transform=transform,
        )
        self.score = Score(self.loss, loader.dataset.labels, of_training=True)
        self._axes, self._classes = len(loader.dataset.shape), loader.dataset.classes
        held_out = None if validation is None else as_dataset(validation)
        if held_out is not None and self.score.of_classes:
            _same_labels(loader.dataset, held_out)
        names = (layer_name(name) for name, _ in self.model.named_parameters())
        measured = ["loss", "accuracy", *map(metric_name, self.metrics)]
        self.history = History(list(dict.fromkeys(names)), [] if held_out is None else measured)
        team = self.team
        team.check(batch_size)
        loader.rows = team.rows if team.size > 1 else None
        session = Session(self, loader, self.history, None if team.rank else out)
        about: dict[str, Any] = counts | {"validation": held_out}
        with team.together(), ExitStack() as stack:
            if out is not None:
                team.first(lambda: stack.enter_context(locked(out)))
            stack.enter_context(rng.using(np.random.default_rng(seed)))
            team.first(lambda: session.begin(resume=resume, validation=held_out))
            loop = Loop(self, session, held_out, epochs, checkpoint_every, progress, patience)
            team.begin(session, about, loop.progress.say)
            loop.run()
        return self.history

    def evaluate(self, data: Data, *, batch_size: int = BATCH) -> dict[str, float]:
        """{"loss", "accuracy", and the metrics} over all the data, without training.

        There is no accuracy if the targets are numbers, not classes. A batch that does not fit into
        memory is halved. Raises: DataError where a label means another class than in training.
        """
        check("evaluate", "an int >= 1", batch_size=batch_size)
        dataset = as_dataset(data)
        _same_names("evaluate", self._classes, dataset.classes)
        results = evaluate(self, dataset, batch_size)
        return {name: x for name, x in results.items() if name != "accuracy" or x == x}

    def predict(self, x: Any, *, batch_size: int = BATCH) -> np.ndarray:
        """The probability of each class; x holds inputs (N, ...), or is a Dataset.

        Shapes: (N, K), the softmax of the logits; rows add up to 1. A single logit gives the
        probability of class 1, its sigmoid, in the shape of the output. If the targets are numbers,
        not classes, the outputs are returned as they are.
        Numerics: a batch that does not fit into memory is halved, which changes no result.
        Raises: ShapeError for inputs with another number of axes than in training; ConfigError if
        the loss is a function of your own, and neither `fit` nor `evaluate` has shown it targets.
        """
        check("predict", "an int >= 1", batch_size=batch_size)
        if not self.score.knows:
            raise ConfigError(
                "predict: expected to know whether targets are classes, whose probabilities it "
                "returns, or numbers; with a loss of your own, call evaluate(data) first, or "
                "compute model(x) yourself"
            )
        if not isinstance(x, Dataset):
            images = array_of("inputs", _host(x))
            if self._axes not in (None, images.ndim):
                raise ShapeError(
                    f"predict: expected inputs with {self._axes} axes as in training, N first, got "
                    f"{images.shape}; write image[None] for a single image"
                )
            x = Dataset(images, np.zeros(len(images), dtype=np.int64))
        parts = everywhere(self, x, batch_size)
        with no_grad():
            return np.concatenate([self.score.probabilities(part) for part in parts])


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
    """Raise DataError where validation has a class that train lacks, or other names of classes."""
    if not (train.classes and validation.classes):
        return
    _same_names("fit", train.classes, validation.classes)
    missing = np.setdiff1d(validation.labels, train.labels)
    if missing.size:
        count = int(np.isin(validation.labels, missing).sum())
        names = ", ".join(validation.classes[k] for k in missing)
        raise DataError(
            f"fit: {count} of {len(validation)} validation images have labels that are missing "
            f"from the training part: {names}; add such images to it, or remove them"
        )


def _same_names(call: str, trained: tuple[str, ...], other: tuple[str, ...]) -> None:
    """Raise DataError where a label means another class than in training.

    Labels without names have their numbers for names, which say nothing.
    """
    if any(names == tuple(map(str, range(len(names)))) for names in (trained, other)):
        return
    for label, (name, here) in enumerate(zip(trained, other, strict=False)):
        if name != here:
            raise DataError(
                f"{call}: label {label} is '{here}' in these data, and '{name}' in training; "
                "expected the same classes in the same order: give the training part's, for "
                "example ImageFolder(root, classes=train.classes)"
            )


def _host(values: Any) -> Any:
    """Tensors and arrays of a GPU as arrays of the host; all else is left to `Dataset`."""
    if isinstance(values, Tensor):
        return values.numpy()
    return device.to_host(values) if hasattr(values, "__cuda_array_interface__") else values


def _whole(value: Any) -> bool:
    return isinstance(value, int | np.integer)
