"""The arguments of a Trainer, checked before anything is computed."""

import warnings
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from math import inf
from typing import Any

import numpy as np

from .. import device as devices
from .. import optim
from ..device import Array
from ..errors import ConfigError, DataError
from ..habits import TRAINER, explained
from ..nn import Module
from ..ops import cross_entropy
from ..tensor import Tensor
from .history import History
from .score import Score
from .team import team

Clip = float | Callable[[list[Any]], Any]
Metric = Callable[[np.ndarray, np.ndarray], float]


class Settings:
    """A model, its loss and its optimizer, with all options of a training step."""

    @partial(explained, call="Trainer", arguments=TRAINER)
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
        capture: bool | str = "auto",
        deterministic: bool = False,
        sync_batch_norm: bool = True,
    ) -> None:
        for name, function in (("loss", loss), ("schedule", schedule)):
            if not callable(function) and (name == "loss" or function is not None):
                raise ConfigError(f"Trainer: expected {name} as a function, got {function!r}")
        self.team = team(deterministic, sync_batch_norm)
        self.deterministic, self.sync_batch_norm = deterministic, sync_batch_norm
        self.model = model.to(device) if device is not None else model
        self.loss = loss
        self.optimizer = optimizer
        self.schedule = schedule
        self.metrics = checked_metrics(metrics)
        self.monitors = tuple(monitors)
        self.seed = seed
        if capture not in (True, False, "auto"):
            raise ConfigError(
                f"Trainer: expected capture as True, False or 'auto', got {capture!r}"
            )
        self.capture = capture
        self.answers: Any = None  # what computes outputs in eval mode: `capture.Answers`
        self.history = History()
        self.batch: tuple[Array, Array] | None = None
        self.loss_value = float("nan")
        self.parameters = list(model.parameters())
        if not self.parameters:
            raise ConfigError("Trainer: expected a model with parameters, got one without any")
        check_optimizer("Trainer", optimizer, self.parameters)
        if self.team.rank == 0:
            warn_of_untrained(optimizer, self.parameters)
        self.clip, self.clip_option = clipper("Trainer", clip), clip
        self.score = Score(loss)  # `fit` replaces it, when it knows the targets

    @property
    def device(self) -> str:
        """'cpu' or 'cuda': where the model is."""
        return self.parameters[0].device

    def forget_gradients(self) -> None:
        """Also those of parameters that the optimizer does not hold: they would add up."""
        for p in self.parameters:
            p.grad = None

    def forward(self, images: np.ndarray) -> Tensor:
        """The model's outputs for a batch."""
        return one_tensor(self.model(self.place(images)))

    def place(self, images: np.ndarray) -> Tensor:
        """A batch in the model's dtype and on its device."""
        return Tensor(devices.to_device(self.fitting(images), self.device))

    def fitting(self, images: np.ndarray) -> np.ndarray:
        """A batch in the model's dtype. Raises: DataError for values beyond that type."""
        if not isinstance(images, np.ndarray):
            raise DataError(
                "Trainer: expected transform to return the batch as an array, got "
                f"{type(images).__name__}"
            )
        first = self.parameters[0]
        x = images.astype(first.dtype, copy=False)
        if x is not images and not np.isfinite(x).all():
            raise DataError(
                f"Trainer: expected inputs within {first.dtype}, the model's dtype, got values up "
                f"to {np.abs(images).max():.3g}; scale or standardise them"
            )
        return x

    def fitting_targets(self, targets: np.ndarray) -> np.ndarray:
        """Targets; floats in the model's dtype, so that they do not promote it."""
        if targets.dtype.kind == "f":
            targets = targets.astype(self.parameters[0].dtype, copy=False)
        return targets

    def place_targets(self, targets: np.ndarray) -> Array:
        """The fitting targets, on the model's device."""
        return devices.to_device(self.fitting_targets(targets), self.device)


def one_tensor(outputs: Any) -> Tensor:
    """The outputs of a model. Raises: ConfigError where they are no Tensor."""
    if isinstance(outputs, Tensor):
        return outputs
    raise ConfigError(
        f"Trainer: expected the model to return a Tensor, got {type(outputs).__name__}; let its "
        "forward return one tensor, or train it in a loop of your own"
    )


def checked_metrics(metrics: Sequence[Metric]) -> tuple[Metric, ...]:
    """The metrics. Raises: ConfigError unless they are functions, each with a name of its own."""
    if callable(metrics) or not all(map(callable, metrics)):
        raise ConfigError(f"Trainer: expected metrics as a list of functions, got {metrics!r}")
    names = ["loss", "accuracy", *map(metric_name, metrics)]
    if taken := [name for i, name in enumerate(names) if name in names[:i]]:
        raise ConfigError(
            f"Trainer: expected metrics with names of their own, got two results named {taken[0]!r}"
            " (loss and accuracy are always reported); define them by def, under other names"
        )
    return tuple(metrics)


def metric_name(metric: object) -> str:
    """The name under which a metric is reported."""
    return getattr(metric, "__name__", repr(metric))


def check_optimizer(call: str, optimizer: Any, parameters: Iterable[Tensor]) -> None:
    """Check an optimizer against the parameters of the model that it is to train.

    Raises: ConfigError unless it is an optimizer, and all its parameters belong to the model.
    """
    able = all(hasattr(optimizer, name) for name in ("params", "lr", "step"))
    if not able or isinstance(optimizer, type):
        got = optimizer.__name__ if isinstance(optimizer, type) else repr(optimizer)
        raise ConfigError(
            f"{call}: expected an optimizer such as md.optim.SGD(model.parameters(), 0.1), got "
            f"{got}"
        )
    own, held = {id(p): p for p in parameters}, {id(p) for p in optimizer.params}
    foreign = held - own.keys()
    if foreign:
        what = "none of this model's parameters"
        if len(foreign) < len(held):
            what = (
                f"{len(foreign)} of {len(held)} parameters that this model does not have (any "
                "more), as after a layer was replaced"
            )
        raise ConfigError(
            f"{call}: the optimizer holds {what}; make it from this model: {_made_of(optimizer)}"
        )


def warn_of_untrained(optimizer: Any, parameters: Iterable[Tensor]) -> None:
    """Warn of trainable parameters that the optimizer does not hold: they will not be trained."""
    held = {id(p) for p in optimizer.params}
    left = [p.shape for p in parameters if p.requires_grad and id(p) not in held]
    if left:
        warnings.warn(
            f"Trainer: the optimizer does not hold {len(left)} of this model's parameters, which "
            f"will stay as they are (their shapes: {', '.join(map(str, left[:5]))}); if that is "
            "meant, say so with requires_grad=False, else make it from all of them: "
            + _made_of(optimizer),
            stacklevel=4,
        )


def _made_of(optimizer: Any) -> str:
    return f"md.optim.{type(optimizer).__name__}(model.parameters(), {optimizer.lr:g})"


def clipper(call: str, clip: Clip | None) -> Callable[[list[Any], float | None], Any] | None:
    """The option `clip` as a function (parameters, norm of their gradients or None); None for None.

    Raises: ConfigError for a norm that is not above 0.
    """
    if clip is None:
        return None
    if callable(clip):
        return lambda parameters, norm: clip(parameters)
    number = isinstance(clip, int | float | np.integer | np.floating) and not isinstance(clip, bool)
    if not number or not 0 < clip < inf:
        raise ConfigError(
            f"{call}: expected clip as a largest gradient norm above 0 or a function, got {clip!r}"
        )
    return lambda parameters, norm: optim.clip_grad_norm(parameters, float(clip), norm)
