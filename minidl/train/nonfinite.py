"""Which operation, of which layer, made the first NaN or infinity.

A NaN spreads: when the loss is NaN, every layer after the source of the NaN holds it too. The
source is the operation whose result is not finite although all its inputs are finite.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backward import sweep
from ..device import Array, array_module, to_host
from ..errors import GradientError
from ..modes import observe
from ..nn import Module
from ..tensor import Node, Tensor
from .settings import Settings

# Advice for each cause, in terms of code; `runs` has it in terms of the command line.
CURES = {
    "rate": "use a smaller learning rate (it is {rate:g}); md.health.doctor says how small",
    "init": "initialise for the activation (init='he_normal' for ReLU); md.health.doctor helps",
    "inputs": "standardise the inputs (md.data.standardize)",
    "argument": "keep the operation's argument away from the edge, for example with clip",
    "code": "look at its code",
}


class NotFiniteError(GradientError):
    """A training that met NaN or infinity.

    what: the place and the cause, in words. cure: a name in CURES. rate: the learning rate.
    """

    def __init__(self, what: str, cure: str, rate: float) -> None:
        super().__init__(f"{what}: {CURES[cure].format(rate=rate)}")
        self.what, self.cure, self.rate = what, cure, rate


_BOUNDED = ("log", "log1p", "sqrt", "divide", "reciprocal", "power", "arcsin", "arccos")


@dataclass(frozen=True)
class Culprit:
    """The producer of the first value that is not finite.

    phase: "forward", "backward" or "update". layer: its name in the model and its type.
    nans, infinities: how many the result holds. largest: the largest |value| among the inputs.
    cause: the reason, in words. cure: a name in CURES.
    rows: the indices on the first axis where the result is not finite.
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
            where, before = f"update of parameter '{self.layer}'", ""
        return (
            f"the {where} made {self.nans} NaN and {self.infinities} Inf in a result of shape "
            f"{self.shape}{before}: {self.cause}"
        )


def is_finite(array: Array) -> bool:
    """Whether all values are finite."""
    return bool(array_module(array).isfinite(array).all())


def forward_culprit(loss: Tensor, model: Module) -> Culprit | None:
    """The operation that made the first non-finite value on the way to `loss`.

    loss: its graph must not have been freed. Returns None if every recorded value is finite.
    """
    for name, parameter in model.named_parameters():
        if not is_finite(parameter.data):
            return _culprit("update", "update", name, parameter.data, [])
    found: list[tuple[Node, Tensor]] = []
    seen: set[int] = set()
    stack = [loss]
    while stack:
        y = stack.pop()
        if id(y) in seen or y.node is None:
            continue
        seen.add(id(y))
        inputs = [x for x, _ in y.node.inputs or ()]
        if not is_finite(y.data) and all(is_finite(x.data) for x in inputs):
            found.append((y.node, y))
        stack.extend(inputs)
    if not found:
        return None
    node, y = min(found, key=lambda pair: pair[0].order)
    sources = [x.data for x, _ in node.inputs or ()]
    return _culprit("forward", node.name, _layer_name(model, node.layer), y.data, sources)


def backward_culprit(loss: Tensor, model: Module) -> Culprit | None:
    """The pullback, or sum of gradients, that makes the first non-finite value of finite ones.

    loss: its graph must not have been freed. This call frees it. No `.grad` of a leaf is changed.
    """
    found: list[Culprit] = []

    def watch(phase: str, operation: str, layer: Any, value: Array, sources: list[Array]) -> None:
        guilty = phase == "backward" and not found and not is_finite(value)
        if guilty and all(is_finite(s) for s in sources):
            name = _layer_name(model, layer)
            found.append(_culprit("backward", operation, name, value, sources))

    with observe(watch):
        ones = Tensor(array_module(loss.data).ones_like(loss.data))
        sweep([(loss, ones)], retain_graph=False, create_graph=False)
    return found[0] if found else None


def search(job: Settings, what: str, rate: float) -> NotFiniteError:
    """The error for a step that met NaN or infinity, with its source.

    job.batch is computed again to find the source. what: the beginning of the message. rate: the
    learning rate of the update before.
    """
    assert job.batch is not None
    images, targets = job.batch

    for name, values in (("inputs", images), ("targets", to_host(targets))):
        if values.dtype.kind == "f" and not is_finite(values):
            return NotFiniteError(
                f"{what}. The source: the {name} of this batch hold {_counted(values)}: from "
                f"transform, or beyond the range of {values.dtype}",
                "inputs",
                rate,
            )
    with np.errstate(all="ignore"):
        loss = job.loss(job.forward(images), Tensor(targets))
        culprit = forward_culprit(loss, job.model) or backward_culprit(loss, job.model)
    if culprit is None:
        return NotFiniteError(f"{what}. It was gone when the same step was run again", "rate", rate)
    cure = culprit.cure
    if cure == "rate" and len(job.history) == 1:  # no update has been made yet
        cure = "inputs" if np.abs(images).max() > 100 else "init"
    shared = culprit.phase == "forward" and culprit.shape[:1] == (len(images),)
    owners = job.team.owners(culprit.rows, len(images)) if shared else ""
    return NotFiniteError(f"{what}. The source{owners}: {culprit}", cure, rate)


def _counted(values: np.ndarray) -> str:
    return f"{int(np.isnan(values).sum())} NaN and {int(np.isinf(values).sum())} Inf"


def _layer_name(model: Module, layer: Any) -> str:
    for name, module in model.named_modules():
        if module is layer:
            return f"'{name}' ({type(module).__name__})" if name else type(module).__name__
    return "none: outside the model (the loss)" if layer is None else type(layer).__name__


def _culprit(phase: str, operation: str, layer: str, value: Array, sources: list[Array]) -> Culprit:
    host = to_host(value)
    nans, infinities = int(np.isnan(host).sum()), int(np.isinf(host).sum())
    sizes = [float(np.abs(to_host(s)).max()) for s in sources if s.size]
    largest = max(sizes, default=0.0)
    cause, cure = _cause(phase, operation, largest)
    finite = np.isfinite(host).reshape(len(host) if host.ndim else 1, -1).all(1)
    rows = tuple(np.flatnonzero(~finite).tolist())
    return Culprit(
        phase, operation, layer, host.shape, nans, infinities, largest, cause, cure, rows
    )


def _cause(phase: str, operation: str, largest: float) -> tuple[str, str]:
    if phase == "update":
        return "the last step overflowed", "rate"
    if largest > 1e9:
        kind = "signal" if phase == "forward" else "gradient"
        return f"an overflow, because the {kind} had already grown to {largest:.1e}", "rate"
    if operation in _BOUNDED:
        return f"'{operation}' left its domain", "argument"
    return f"'{operation}' itself turned finite numbers into others", "code"
