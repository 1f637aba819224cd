"""Which operation, of which layer, made the first NaN or infinity.

A NaN spreads: by the time the loss shows one, every layer after its source holds it too. The
source is the one operation whose result is not finite although all that went into it was.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backward import sweep
from ..device import Array, array_module, to_host
from ..modes import observe
from ..nn import Module
from ..tensor import Node, Tensor


@dataclass(frozen=True)
class Culprit:
    """The producer of the first value that is not finite.

    phase: "forward", "backward" or "update". layer: its name in the model and its type.
    largest: the largest finite |value| that went in.
    """

    phase: str
    operation: str
    layer: str
    shape: tuple[int, ...]
    nans: int
    infinities: int
    largest: float
    cause: str

    def __str__(self) -> str:
        where = f"{self.phase} pass of '{self.operation}' in layer {self.layer}"
        if self.phase == "update":
            where = f"update of parameter '{self.layer}'"
        return (
            f"the {where} made {self.nans} NaN and {self.infinities} Inf in a result of shape "
            f"{self.shape}, from finite values of at most {self.largest:.3g}: {self.cause}"
        )


def is_finite(array: Array) -> bool:
    """Whether all values are finite."""
    return bool(array_module(array).isfinite(array).all())


def forward_culprit(loss: Tensor, model: Module) -> Culprit | None:
    """The operation that made the first non-finite value on the way to `loss`, still recorded.

    None where every recorded value is finite.
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


def backward_culprit(make_loss: Callable[[], Tensor], model: Module) -> Culprit | None:
    """The pullback that makes the first non-finite gradient from a finite one.

    make_loss runs the forward pass of the step again; no `.grad` is touched.
    """
    found: list[Culprit] = []

    def watch(phase: str, operation: str, layer: Any, value: Array, sources: list[Array]) -> None:
        guilty = phase == "backward" and not found and not is_finite(value)
        if guilty and all(is_finite(s) for s in sources):
            name = _layer_name(model, layer)
            found.append(_culprit("backward", operation, name, value, sources))

    loss = make_loss()
    with observe(watch):
        ones = Tensor(array_module(loss.data).ones_like(loss.data))
        sweep([(loss, ones)], retain_graph=False, create_graph=False)
    return found[0] if found else None


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
    return Culprit(
        phase,
        operation,
        layer,
        host.shape,
        nans,
        infinities,
        largest,
        _cause(phase, operation, largest),
    )


def _cause(phase: str, operation: str, largest: float) -> str:
    if phase == "update":
        return (
            "the last step overflowed; use a smaller learning rate, clip the gradient's norm, or "
            "warm the rate up"
        )
    if largest > 1e9:
        kind = "signal" if phase == "forward" else "gradient"
        return (
            f"an overflow: the {kind} had already grown to {largest:.1e}; use he_normal "
            "initialisation, normalise the input, lower the learning rate, or clip the gradient"
        )
    if operation in ("log", "log1p", "sqrt", "divide", "reciprocal", "power", "arcsin", "arccos"):
        return f"'{operation}' left its domain; keep its argument away from the edge with clip"
    return f"'{operation}' itself turned finite numbers into non-finite ones; look at its code"
