"""The gradient doctor: one forward and one backward pass, and what they say about training."""

import copy
import itertools
from dataclasses import dataclass
from math import inf, isfinite, log
from typing import Any

import numpy as np

from .. import backend, nn, optim
from ..errors import ConfigError, DataError
from ..nn import Module
from ..ops import cross_entropy
from ..tensor import ArrayLike, Tensor, as_tensor
from . import rules, theory
from .probe import Passage, probed, scale
from .report import Report


@dataclass
class Trial:
    """One trial step: loss and scale of the logits before it, what it did to each layer."""

    loss: float
    logit_scale: float
    ratios: dict[str, float]


@dataclass
class Measurements:
    """All that the rules look at.

    loss: at the batch, in nats. chance: ln K. passages: the layers in the order of their calls.
    ratios: ‖update‖/‖weight‖ per parameter tensor that is a matrix or kernels, by its layer.
    momentum: the optimizer's. adaptive: whether it divides each gradient by its own size.
    normalised: the layers whose output a BatchNorm or LayerNorm rescales. residual: whether a
    branch leads past some layers.
    trial: the steps after the first one.
    """

    loss: float
    chance: float
    input_scale: float
    logit_scale: float
    passages: list[Passage]
    predictions: list[float | None]
    ratios: dict[str, float]
    normalised: set[str]
    residual: bool
    gradient: float
    rate: float | None
    momentum: float
    adaptive: bool
    trial: list[Trial]


def doctor(
    model: Module,
    batch: tuple[ArrayLike, ArrayLike],
    optimizer: Any = None,
    *,
    loss: Any = cross_entropy,
    trial_steps: int = 0,
) -> Report:
    """Say before training whether it will explode, vanish or stall, where, why, and what to do.

    batch: (images, labels) as training will see them. optimizer: the one that training will use,
    already holding model.parameters(); its real update is measured, on a copy. Without it nothing
    is said about the learning rate.
    trial_steps: make so many steps on the copy, always on this batch, and look at their losses.
    Model, optimizer and random numbers are left as they were.
    Raises: ConfigError where the optimizer holds other parameters; DataError for an empty batch.
    """
    if isinstance(trial_steps, bool) or not isinstance(trial_steps, int) or trial_steps < 0:
        raise ConfigError(f"doctor: expected trial_steps to be an int >= 0, got {trial_steps!r}")
    try:
        images, labels = batch
    except (TypeError, ValueError):
        raise DataError(
            f"doctor: expected a batch (images, labels), got {type(batch).__name__}"
        ) from None
    own = {id(p) for p in model.parameters()}
    if optimizer is not None and not own & {id(p) for p in optimizer.params}:
        raise ConfigError("doctor: the optimizer holds none of this model's parameters")
    before = backend.generator().bit_generator.state
    patient, optimizer = copy.deepcopy((model, optimizer))
    for _, module in patient.named_modules():
        module.hooks = []
    try:
        with np.errstate(all="ignore"):
            found = _measure(patient, as_tensor(images), labels, optimizer, loss, trial_steps)
    finally:
        backend.generator().bit_generator.state = before
    return rules.judge(found)


def _measure(
    model: Module, images: Tensor, labels: ArrayLike, optimizer: Any, loss: Any, trial_steps: int
) -> Measurements:
    named = model.named_parameters()
    if not named:
        raise ConfigError(
            "doctor: expected a model that can be trained; this one has no parameters"
        )
    first = named[0][1]
    if not images.size:
        raise DataError(f"doctor: expected at least one image, got shape {images.shape}")
    x = Tensor(backend.to_device(images.data.astype(first.dtype), first.device))
    model.train()
    model.zero_grad()
    with probed(model) as passages:
        logits = model(x)
        value = loss(logits, labels)
        value.backward()
    squares = [scale(p.grad.data) ** 2 * p.size for _, p in named if p.grad is not None]
    found = Measurements(
        loss=float(value.item()),
        chance=log(logits.shape[-1]) if logits.ndim == 2 else inf,
        input_scale=scale(x.data),
        logit_scale=scale(logits.data),
        passages=passages,
        predictions=[theory.predicted_scale(p) for p in passages],
        ratios={},
        normalised=_normalised(passages),
        residual=any(isinstance(module, nn.Residual) for _, module in model.named_modules()),
        gradient=float(np.sum(squares)) ** 0.5,
        rate=None if optimizer is None else float(optimizer.lr),
        momentum=getattr(optimizer, "momentum", 0.0),
        adaptive=isinstance(optimizer, optim.Adam | optim.RMSProp),
        trial=[],
    )
    if optimizer is None:
        return found
    found.ratios = _update(model, optimizer)
    for _ in range(trial_steps):
        model.zero_grad()
        logits = model(x)
        value = loss(logits, labels)
        value.backward()
        trial = Trial(float(value.item()), scale(logits.data), _update(model, optimizer))
        found.trial.append(trial)
        if not isfinite(trial.loss):
            break
    return found


def _update(model: Module, optimizer: Any) -> dict[str, float]:
    """Let the optimizer step; ‖update‖/‖weight‖ by layer, the larger where it holds several."""
    before = {n: (p, p.data.copy()) for n, p in model.named_parameters() if p.ndim > 1}
    optimizer.step()
    ratios: dict[str, float] = {}
    for name, (p, old) in before.items():
        change, size = scale(p.data - old), scale(old)
        ratio = change / size if size else (inf if change else 0.0)
        # A NaN update is the worst there is, and no comparison may hide it.
        ratio = ratio if ratio == ratio else inf
        layer = name.rpartition(".")[0]
        ratios[layer] = max(ratios.get(layer, 0.0), ratio)
    return ratios


def _normalised(passages: list[Passage]) -> set[str]:
    """Weighted layers whose output goes straight into a normalisation: their scale cancels."""
    return {
        a.name
        for a, b in itertools.pairwise(passages)
        if a.weighted and isinstance(b.layer, nn.BatchNorm2d | nn.LayerNorm)
    }
