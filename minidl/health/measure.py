"""What the doctor measures: a forward and a backward pass, an update, and steps that are tried."""

from contextlib import suppress
from dataclasses import dataclass
from math import hypot, inf, isfinite, log, nan
from typing import Any

import numpy as np

from .. import device, nn, optim
from ..device import Array, to_host
from ..errors import ConfigError, DataError, GradientError
from ..nn import Module
from ..ops import cross_entropy
from ..tensor import ArrayLike, Tensor
from . import theory
from .probe import NORMS, Passage, probed, scale

UNKNOWN_LOSS_STEPS = 2  # that are always made to see whether its gradient is bounded
FAR = 1e3  # more than gradients grow until the logits tell something


@dataclass
class Step:
    """One step: loss and scale of the logits before it, and what it did.

    ratios: ‖update‖/‖weight‖ per parameter tensor that is a matrix or kernels, by its layer.
    Weights that are all 0 have no scale of their own, and are not among them.
    room, cut: with a clip, how much larger a larger gradient could still make the update, and how
    much smaller the clip made this one.
    """

    loss: float
    logit_scale: float
    ratios: dict[str, float]
    room: float = inf
    cut: float = 1.0


@dataclass
class Measurements:
    """All that the rules look at.

    loss: at the batch. chance: ln K where it is a cross-entropy, else NaN. passages: the layers in
    the order of their calls.
    step: the first one; the second, where weights start at 0 and have a scale only then. born: the
    layers of such weights.
    momentum: the optimizer's. adaptive: whether it divides each gradient by its own size; a first
    step then moves each weight by the rate times `first`, later ones by the rate times `later`.
    normalised: the layers whose output a BatchNorm or LayerNorm rescales. residual: whether a
    branch leads past some layers.
    trial: the steps after that one. turns: g'·g/‖g‖² of each gradient g and the next one g'.
    """

    images: int
    loss: float
    chance: float
    input_scale: float
    logit_scale: float
    passages: list[Passage]
    predictions: list[float | None]
    normalised: set[str]
    residual: bool
    gradient: float
    rate: float | None
    momentum: float
    adaptive: bool
    first: float
    later: float
    step: Step
    born: set[str]
    trial: list[Step]
    turns: list[float]


def measure(
    model: Module,
    images: Tensor,
    labels: ArrayLike,
    optimizer: Any,
    loss: Any,
    clip: Any,
    trial_steps: int,
) -> Measurements:
    """Measure, and leave the model changed."""
    named = model.named_parameters()
    if not named:
        raise ConfigError(
            "doctor: expected a model that can be trained; this one has no parameters"
        )
    first = named[0][1]
    if not images.size:
        raise DataError(f"doctor: expected at least one image, got shape {images.shape}")
    x = Tensor(device.to_device(images.data.astype(first.dtype), first.device))
    input_scale = scale(x.data)
    if not isfinite(input_scale):
        raise DataError(
            f"doctor: expected finite images within {first.dtype}, the model's dtype, got values "
            "that are not; scale them, or leave the damaged ones out"
        )
    model.train()
    model.zero_grad()
    with probed(model) as passages:
        logits = model(x)
        value = loss(logits, labels)
        if not isinstance(value, Tensor):
            raise ConfigError(
                f"doctor: expected loss(logits, labels) to be a Tensor, got {type(value).__name__}"
            )
        value.backward()
    norms = [scale(p.grad.data) * p.size**0.5 for _, p in named if p.grad is not None]
    guess = loss is cross_entropy and logits.ndim == 2 and logits.shape[1] > 1
    first_step, later = _settling(optimizer)
    found = Measurements(
        images=len(x),
        loss=float(value.item()),
        chance=log(logits.shape[1]) if guess else nan,
        input_scale=input_scale,
        logit_scale=scale(logits.data),
        passages=passages,
        predictions=[theory.predicted_scale(p) for p in passages],
        normalised={p.maker.name for p in passages if p.maker and isinstance(p.layer, NORMS)},
        residual=any(isinstance(module, nn.Residual) for _, module in model.named_modules()),
        gradient=hypot(*norms),
        rate=None if optimizer is None else float(optimizer.lr),
        momentum=float(getattr(optimizer, "momentum", 0.0)),
        adaptive=isinstance(optimizer, optim.Adam | optim.RMSProp),
        first=first_step,
        later=later,
        step=Step(float(value.item()), scale(logits.data), {}),
        born=set(),
        trial=[],
        turns=[],
    )
    if optimizer is None:
        return found

    def again() -> Step:
        before = [(p, p.grad.data) for _, p in named if p.grad is not None]
        model.zero_grad()
        logits = model(x)
        value = loss(logits, labels)
        value.backward()
        found.turns.append(_turn(before))
        return _step(model, optimizer, clip, value, logits)

    new = [(n, p) for n, p in named if p.ndim > 1 and not scale(p.data)]
    found.step = _step(model, optimizer, clip, value, logits)
    found.born = {_layer(n) for n, p in new if scale(p.data)}
    if found.born:
        found.step = again()
    wanted = trial_steps if loss is cross_entropy else max(trial_steps, UNKNOWN_LOSS_STEPS)
    for _ in range(wanted):
        found.trial.append(again())
    found.trial = found.trial[:trial_steps]
    return found


def _turn(before: list[tuple[Any, Array]]) -> float:
    """g'·g/‖g‖² of a gradient g and the next g'."""
    along = square = 0.0
    for p, g in before:
        if p.grad is not None:
            old, new = (to_host(a).astype(np.float64).ravel() for a in (g, p.grad.data))
            along, square = along + float(old @ new), square + float(old @ old)
    turn = along / square if square else 0.0
    return turn if turn == turn else -inf  # NaN is the worst there is


def _settling(optimizer: Any) -> tuple[float, float]:
    """How far a first step of Adam or RMSProp moves a weight, and a later one, in rates.

    RMSProp's mean square starts at 0, so that its first step is 1/√(1 - α) rates, and its tenth
    1/√(1 - α¹⁰).
    """
    if not isinstance(optimizer, optim.RMSProp):
        return 1.0, 1.0
    done = int(optimizer.state.get("0.step", 0))
    first, later = ((1 - optimizer.alpha ** (done + t)) ** -0.5 for t in (1, 10))
    return first, later


def _step(model: Module, optimizer: Any, clip: Any, loss: Tensor, logits: Tensor) -> Step:
    """Clip the gradients, let the optimizer step, and say what it did."""
    room, cut = (inf, 1.0) if clip is None else _clip(model, clip)
    before = [(n, p, p.data.copy()) for n, p in model.named_parameters() if p.ndim > 1]
    optimizer.step()
    ratios: dict[str, float] = {}
    for name, p, old in before:
        if size := scale(old):
            ratio = scale(p.data - old) / size
            # A NaN update is the worst there is, and no comparison may hide it.
            ratio = ratio if ratio == ratio else inf
            layer = _layer(name)  # the larger where it holds several
            ratios[layer] = max(ratios.get(layer, 0.0), ratio)
    return Step(float(loss.item()), scale(logits.data), ratios, room, cut)


def _layer(parameter: str) -> str:
    return parameter.rpartition(".")[0] or "model"


def _clip(model: Module, clip: Any) -> tuple[float, float]:
    """Clip the gradients: room and cut of a Step."""
    parameters = model.parameters()
    held = [(p.grad, p.grad.data.copy()) for p in parameters if p.grad is not None]

    def norm() -> float:
        return hypot(*(scale(gradient.data) * gradient.size**0.5 for gradient, _ in held))

    def clipped(factor: float) -> float:
        for gradient, g in held:
            gradient.data[...] = g * factor
        with suppress(GradientError):  # not finite: the step will show it
            clip(parameters, None)
        return norm()

    whole, far = norm(), clipped(FAR)
    now = clipped(1.0)
    return (far / now, whole / now) if now else (inf, 1.0)
