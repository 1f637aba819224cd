"""Stage 2: all numbers the doctor needs, from one pass, one update, and the trial steps."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf, isfinite, log, nan
from typing import Any

import numpy as np

from .. import device, nn, optim
from ..device import Array, to_host
from ..errors import ConfigError, DataError, GradientError
from ..nn import Module
from ..norms import global_l2, rms
from ..ops import cross_entropy
from ..tensor import ArrayLike, Tensor
from .probe import NORMS, LayerCall, probed

UNKNOWN_LOSS_STEPS = 2  # trial steps always made with another loss than cross_entropy
LARGER_GRADIENT = 1e3  # gradients grow by less than this until the network has learned something


@dataclass
class Step:
    """One step of the optimizer: the loss and the logits' RMS before it, and how far it went.

    ratios: ‖update‖/‖weight‖ of each layer's matrix or kernels. Where a layer has several, the
    largest ratio counts. Weights that are all 0 have no size to compare with, and are left out.
    clip_headroom: how many times larger the update would be if the gradient were 1,000 times as
    large. It is infinite without a clip, and 1 where the clip already binds.
    clip_ratio: the gradient's norm before clipping over its norm after.
    """

    loss: float
    logit_rms: float
    ratios: dict[str, float]
    clip_headroom: float = inf
    clip_ratio: float = 1.0


@dataclass
class Measurements:
    """All numbers that the later stages look at.

    loss: of the batch. chance_loss: ln K for a cross-entropy over K classes, the loss of a guess;
    NaN for other losses, whose value for a guess is not known.
    calls: the layers in the order in which they ran. gradient: the norm of the whole gradient.
    normalised: layers whose output a BatchNorm or LayerNorm rescales, so that their own size does
    not matter. residual: whether the network has branches that skip layers.
    adaptive: whether the optimizer divides each gradient by its own size (Adam, RMSProp). A weight
    then moves by about the learning rate times `first_step` in the first step, and times
    `later_step` in later ones.
    step: the first step. Weights that start at 0 have no size to compare it with. So where there
    are such weights it is the second step. zero_initialised: the layers of these weights.
    trial: the trial steps, made after `step`.
    projections: g'·g/‖g‖² for each gradient g and the next one g', which is below 0 where a step
    went past the minimum.
    missing: parameters that need a gradient but that the optimizer does not hold.
    unchanged: layers with a matrix or kernels that are frozen, or that the optimizer does not hold.
    """

    images: int
    loss: float
    chance_loss: float
    input_rms: float
    logit_rms: float
    calls: list[LayerCall]
    normalised: set[str]
    residual: bool
    gradient: float
    rate: float | None
    momentum: float
    adaptive: bool
    first_step: float
    later_step: float
    step: Step
    zero_initialised: set[str] = field(default_factory=set)
    trial: list[Step] = field(default_factory=list)
    projections: list[float] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unchanged: set[str] = field(default_factory=set)

    @property
    def weighted(self) -> list[LayerCall]:
        """The calls of Dense and convolution layers."""
        return [call for call in self.calls if call.weighted]


def measure(
    model: Module,
    images: Tensor,
    labels: ArrayLike,
    optimizer: Any,
    loss: Any,
    clip: Any,
    trial_steps: int,
) -> Measurements:
    """Measure the model. Its weights are changed by the steps: the caller puts them back."""
    named = model.named_parameters()
    if not any(p.requires_grad for _, p in named):
        raise ConfigError(
            "doctor: expected a model that can be trained; this one has "
            + ("only frozen parameters: set requires_grad=True" if named else "no parameters")
        )
    first = named[0][1]
    if not images.size:
        raise DataError(f"doctor: expected at least one image, got shape {images.shape}")
    x = Tensor(device.to_device(images.data.astype(first.dtype), first.device))
    input_rms = rms(x.data)
    if not isfinite(input_rms):
        raise DataError(
            f"doctor: expected finite images within {first.dtype}, the model's dtype, got values "
            "that are not; scale them, or leave the damaged ones out"
        )

    def gradients() -> tuple[Tensor, Tensor]:
        """The loss and the logits, after a forward and a backward pass."""
        model.zero_grad()
        logits = model(x)
        value = loss(logits, labels) if isinstance(logits, Tensor) else logits
        if not isinstance(value, Tensor):
            source = "the model's output" if value is logits else "loss(logits, labels)"
            raise ConfigError(
                f"doctor: expected {source} to be a Tensor, got {type(value).__name__}"
            )
        value.backward()
        return value, logits

    model.train()
    with probed(model) as calls:
        value, logits = gradients()
    classes = logits.shape[1] if loss is cross_entropy and logits.ndim == 2 else 1
    first_step, later_step = _step_sizes(optimizer)
    found = Measurements(
        images=len(x),
        loss=float(value.item()),
        chance_loss=log(classes) if classes > 1 else nan,
        input_rms=input_rms,
        logit_rms=rms(logits.data),
        calls=calls,
        normalised={c.scaled_by.name for c in calls if c.scaled_by and isinstance(c.layer, NORMS)},
        residual=any(isinstance(module, nn.Residual) for _, module in model.named_modules()),
        gradient=float(global_l2(p.grad.data for _, p in named if p.grad is not None)),
        rate=None if optimizer is None else float(optimizer.lr),
        momentum=float(getattr(optimizer, "momentum", 0.0)),
        adaptive=isinstance(optimizer, optim.Adam | optim.RMSProp),
        first_step=first_step,
        later_step=later_step,
        step=Step(float(value.item()), rms(logits.data), {}),
    )
    if optimizer is None:
        return found
    held = {id(p) for p in optimizer.params}
    found.missing = [n for n, p in named if p.requires_grad and id(p) not in held]
    still = (n for n, p in named if p.ndim > 1 and not (p.requires_grad and id(p) in held))
    found.unchanged = set(map(_layer_of, still))

    def next_step() -> Step:
        before = [(p, p.grad.data) for _, p in named if p.grad is not None]
        value, logits = gradients()
        found.projections.append(_projection(before))
        return _step(model, optimizer, clip, value, logits)

    zero = [(name, p) for name, p in named if p.ndim > 1 and not rms(p.data)]
    found.step = _step(model, optimizer, clip, value, logits)
    found.zero_initialised = {_layer_of(name) for name, p in zero if rms(p.data)}
    if found.zero_initialised:
        found.step = next_step()
    wanted = trial_steps if loss is cross_entropy else max(trial_steps, UNKNOWN_LOSS_STEPS)
    found.trial = [next_step() for _ in range(wanted)][:trial_steps]
    return found


def _projection(before: list[tuple[Any, Array]]) -> float:
    """g'·g/‖g‖² of a gradient g and the next one g'."""
    product = square = 0.0
    for p, g in before:
        if p.grad is not None:
            old, new = (to_host(a).astype(np.float64).ravel() for a in (g, p.grad.data))
            product, square = product + float(old @ new), square + float(old @ old)
    ratio = product / square if square else 0.0
    # NaN counts as the worst value: every comparison with NaN is false, so a rule would miss it.
    return ratio if ratio == ratio else -inf


def _step_sizes(optimizer: Any) -> tuple[float, float]:
    """How many learning rates the optimizer's first step, and its tenth, moves a weight.

    The mean square of RMSProp starts at 0, and after t steps it is too small by the factor 1 - αᵗ.
    So step t moves a weight by 1/√(1 - αᵗ) learning rates. Adam corrects this.
    """
    if not isinstance(optimizer, optim.RMSProp):
        return 1.0, 1.0
    done = int(optimizer.state.get("0.step", 0))
    first, later = ((1 - optimizer.alpha ** (done + t)) ** -0.5 for t in (1, 10))
    return first, later


def _step(model: Module, optimizer: Any, clip: Any, loss: Tensor, logits: Tensor) -> Step:
    """Clip the gradients, let the optimizer step, and measure what it changed."""
    headroom, ratio = (inf, 1.0) if clip is None else _clip(model, clip)
    before = [(n, p, p.data.copy()) for n, p in model.named_parameters() if p.ndim > 1]
    optimizer.step()
    ratios: dict[str, float] = {}
    for name, p, old in before:
        if size := rms(old):
            change = rms(p.data - old) / size
            change = change if change == change else inf  # NaN counts as the worst
            layer = _layer_of(name)
            ratios[layer] = max(ratios.get(layer, 0.0), change)
    return Step(float(loss.item()), rms(logits.data), ratios, headroom, ratio)


def _layer_of(parameter: str) -> str:
    return parameter.rpartition(".")[0] or "model"


def _clip(model: Module, clip: Callable[[Any, None], Any]) -> tuple[float, float]:
    """Clip the gradients; the clip_headroom and clip_ratio of the step."""
    parameters = model.parameters()
    held = [(p.grad, p.grad.data.copy()) for p in parameters if p.grad is not None]

    def norm() -> float:
        return float(global_l2(gradient.data for gradient, _ in held))

    def clipped(factor: float) -> float:
        for gradient, g in held:
            gradient.data[...] = g * factor
        with suppress(GradientError):  # the gradient is not finite: `ratios` will show it
            clip(parameters, None)
        return norm()

    whole, far, now = norm(), clipped(LARGER_GRADIENT), clipped(1.0)
    return (far / now, whole / now) if now else (inf, 1.0)
