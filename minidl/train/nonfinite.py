"""Which operation, of which layer, made the first NaN or infinity.

A NaN spreads: when the loss is NaN, every layer after the source of the NaN holds it too. The
source is the operation whose result is not finite although all its inputs are finite. Every
operation tells an observer its result and its inputs (`observe` in `modes.py`). `find_culprit`
keeps those results that are not finite, and follows them back from the loss.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..backward import sweep
from ..device import Array, array_module, to_host
from ..errors import ConfigError, GradientError
from ..modes import keeping_buffers, observe
from ..nn import Module
from ..tensor import Tensor
from .settings import Settings

# Advice for each cause, in terms of code; `runs/opinion.py` has it in options of the command line.
CURES = {
    "rate": "use a smaller learning rate (it is {rate:g}); md.health.doctor says how small",
    "init": "initialise for the activation (init='he_normal' for ReLU); md.health.doctor helps",
    "inputs": "standardise the inputs (md.data.standardize)",
    "argument": "keep the operation's argument away from the edge, for example with clip",
    "code": "look at its code",
}

# Operations whose result is finite for some arguments only: first those with an edge, such as log
# at 0; then those that large arguments take beyond the range, such as exp of 100 in float32.
_EDGED = ("log", "log1p", "sqrt", "std", "arcsin", "arccos", "divide", "reciprocal")
_STEEP = ("power", "exp", "expm1", "sinh", "cosh", "square")


@dataclass(frozen=True)
class Culprit:
    """The operation that made the first value that is not finite.

    phase: "forward", "backward" or "update". operation: its name. layer: the layer's name in the
    model and its type; for an update, the parameter's name. shape: of the result. nans, infinities:
    how many the result holds. largest: the largest |value| that it was computed from; in the
    backward pass, of the gradient that arrived; NaN for an update. cause: the reason, in words.
    cure: a name in CURES. rows: the indices on the first axis where the result is not finite.
    """

    phase: str
    operation: str
    layer: str
    shape: tuple[int, ...]
    nans: int
    infinities: int
    largest: float
    cause: str
    cure: str
    rows: tuple[int, ...] = ()

    def __str__(self) -> str:
        where = f"{self.phase} pass of '{self.operation}' in layer {self.layer}"
        before = f", from finite values of at most {self.largest:.3g}"
        if self.phase == "update":
            where = f"update of parameter '{self.layer}'"
        if self.phase == "update" or not np.isfinite(self.largest):
            before = ""
        return (
            f"the {where} made {self.nans} NaN and {self.infinities} Inf in a result of shape "
            f"{self.shape}{before}: {self.cause}"
        )


class NotFiniteError(GradientError):
    """A training that met NaN or infinity.

    what: the place and the cause, in words. cure: a name in CURES. rate: the learning rate.
    culprit: the operation that made the first of them, or None where it was not searched or found.
    """

    def __init__(self, what: str, cure: str, rate: float, culprit: Culprit | None = None) -> None:
        super().__init__(f"{what}: {CURES[cure].format(rate=rate)}")
        self.what, self.cure, self.rate, self.culprit = what, cure, rate, culprit

    def __reduce__(self) -> Any:
        """So that it can be pickled, and be sent to other processes."""
        return type(self), (self.what, self.cure, self.rate, self.culprit)


class _Result(NamedTuple):
    """The result of an operation or a pullback, as an observer sees it."""

    phase: str
    operation: str
    layer: Any
    value: Array
    sources: list[Array]


def is_finite(array: Array) -> bool:
    """Whether all values are finite."""
    return bool(array_module(array).isfinite(array).all())


def find_culprit(model: Module, compute: Callable[[], Tensor]) -> Culprit | None:
    """The operation that made the first NaN or infinity of a loss, or else of its gradients.

    For a training loop of your own: `find_culprit(model, lambda: loss_function(model(x), labels))`,
    with the weights and the batch of the step that failed. The Trainer does it by itself.
    compute: computes the loss anew, without `backward`; called once. The parameters' gradients and
    the buffers, such as running means, come out as they were. A parameter that is not finite is
    named before any operation. A result is taken to come from each of its inputs that is not
    finite, even if a mask within the operation has hidden that input. Returns None where the loss
    and all gradients are finite.
    Raises: ConfigError where compute returns no Tensor.
    """
    for name, parameter in model.named_parameters():
        if not is_finite(parameter.data):
            return _update_of(name, parameter.data)
    bad: list[_Result] = []

    def watch(*seen: Any) -> None:
        result = _Result(*seen)
        if not is_finite(result.value):
            bad.append(result)

    with np.errstate(all="ignore"), keeping_buffers(model), observe(watch):
        loss = compute()
        if not isinstance(loss, Tensor):
            raise ConfigError(f"find_culprit: expected compute to return a Tensor, got {loss!r}")
        # A value that does not reach the loss does no harm, such as log(0) where a mask hides it.
        # Nor does a gradient that does not reach a parameter.
        reached = {id(loss.data)}
        if is_finite(loss.data):
            bad.clear()
            ones = Tensor(array_module(loss.data).ones_like(loss.data))
            ends = sweep([(loss, ones)], retain_graph=False, create_graph=False)
            reached = {id(g.data) for _, g in ends}
    found = _first(bad, reached)
    return None if found is None else _culprit(model, found)


def _first(bad: list[_Result], ends: set[int]) -> _Result | None:
    """The first of the results that reached the loss and were made of none of the others.

    bad: the results that are not finite, in the order in which they were made. ends: the ids of the
    loss's array, or of the parameters' gradients. The walk goes from the last result to the first,
    and adds what each of them was made of to what has reached these.
    """
    ids, reached, first, earliest = {id(result.value) for result in bad}, set(ends), None, None
    for result in reversed(bad):
        if id(result.value) in reached:
            made_of = ids & {id(s) for s in result.sources if not is_finite(s)}
            reached |= made_of
            first, earliest = first if made_of else result, result
    return first or earliest


def explain(job: Settings, what: str, rate: float) -> NotFiniteError:
    """The error for a step of the Trainer that met NaN or infinity, with its source.

    job.batch is computed again to find the source. what: the beginning of the message. rate: the
    learning rate of the update before.
    """
    assert job.batch is not None
    images, targets = job.batch
    for name, values in (("inputs", images), ("targets", to_host(targets))):
        if values.dtype.kind == "f" and not is_finite(values):
            nans, infinities = _counts(values)
            return NotFiniteError(
                f"{what}. The source: the {name} of this batch hold {nans} NaN and {infinities} "
                f"Inf: from transform, or beyond the range of {values.dtype}",
                "inputs",
                rate,
            )
    try:
        culprit = find_culprit(job.model, lambda: job.loss(job.forward(images), Tensor(targets)))
    except MemoryError:
        return NotFiniteError(f"{what}. The memory did not suffice to search it", "rate", rate)
    if culprit is None:
        return NotFiniteError(f"{what}. It was gone when the same step was run again", "rate", rate)
    cure = culprit.cure
    if cure == "rate" and len(job.history) == 1:  # no update has been made yet
        cure = "inputs" if np.abs(images).max() > 100 else "init"
    shared = culprit.phase == "forward" and culprit.shape[:1] == (len(images),)
    owners = job.team.owners(culprit.rows, len(images)) if shared else ""
    return NotFiniteError(f"{what}. The source{owners}: {culprit}", cure, rate, culprit)


def _layer_name(model: Module, layer: Any) -> str:
    for name, module in model.named_modules():
        if module is layer:
            return f"'{name}' ({type(module).__name__})" if name else type(module).__name__
    return "none: outside the model (the loss)" if layer is None else type(layer).__name__


def _update_of(name: str, values: Array) -> Culprit:
    cause = "the last update overflowed, or no update was made yet and it began so"
    return Culprit("update", "update", name, values.shape, *_counts(values), np.nan, cause, "rate")


def _culprit(model: Module, found: _Result) -> Culprit:
    value = to_host(found.value)
    sizes = [np.abs(to_host(s)).max() for s in found.sources if s.size]
    largest = float(np.max(sizes, initial=0.0))  # NaN if one of them is
    cause, cure = _cause(found, largest)
    finite = np.isfinite(value).reshape(len(value) if value.ndim else 1, -1).all(1)
    rows = tuple(np.flatnonzero(~finite).tolist())
    layer, counts = _layer_name(model, found.layer), _counts(value)
    return Culprit(
        found.phase, found.operation, layer, value.shape, *counts, largest, cause, cure, rows
    )


def _counts(values: Array) -> tuple[int, int]:
    """How many of the values are NaN, and how many are infinite."""
    host = to_host(values)
    return int(np.isnan(host).sum()), int(np.isinf(host).sum())


def _cause(found: _Result, largest: float) -> tuple[str, str]:
    """The cause in words, and the name of a cure."""
    if not np.isfinite(largest):
        return (
            "one of the values that it was computed from was not finite already, and no operation "
            "and no parameter made that one: the batch, a constant, a buffer or a hook did"
        ), "code"
    limited = f"the result of '{found.operation}' is finite for some arguments only", "argument"
    if found.operation in _EDGED:
        return limited
    # Products of up to four such factors can be beyond the largest number of their type.
    if largest > float(np.finfo(found.value.dtype).max) ** 0.25:
        kind = "signal" if found.phase == "forward" else "gradient"
        return f"an overflow, because the {kind} had already grown to {largest:.1e}", "rate"
    if found.operation in _STEEP:
        return limited
    return f"'{found.operation}' itself turned finite numbers into others", "code"
