"""One step of a network with everything that happened in it: each operation, value and gradient.

The step is an ordinary one: `loss.backward()` with the engine's own sweep. Two things are added.
The layers are watched (`health.probe`). So none is fused with its neighbour, and every operation in
the source runs by itself. And an observer notes the gradient that each pullback returns.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..device import Array
from ..errors import ConfigError
from ..health.probe import LayerCall, probed
from ..kernels import Window
from ..modes import observe
from ..nn import Module
from ..ops import cross_entropy
from ..ops.window import Convolution
from ..tensor import Node, Tensor, tensor
from ..train.step import one_number
from .source import Place, code_of, held_by, place_of


@dataclass
class Value:
    """A tensor of the record.

    name: a parameter's path in the model, "images", "constant", or "v1", "v2" ... for results.
    kind: "images", "parameter", "constant" or "result". batched: whether its first axis is the
    batch. gradient: of the loss by it, all parts added up; None where none was needed.
    """

    name: str
    kind: str
    data: Array
    batched: bool
    gradient: Array | None = None


@dataclass
class Operation:
    """An operation of the record.

    layer, kind: path and class of the layer that was running; "" outside layers. inputs, output:
    indices into the record's values. needed: for each input, whether its gradient was needed.
    formulas: for each input the place of its pullback in the source. fast: the place of the faster
    code that ran in their stead; None where the formulas themselves ran.
    window, groups: of a convolution or pooling. winners: of max-pooling, the number of the first
    largest tap in each window.
    """

    name: str
    layer: str
    kind: str
    inputs: list[int]
    output: int
    needed: tuple[bool, ...]
    formulas: list[Place | None]
    fast: Place | None
    window: Window | None = None
    groups: int = 1
    winners: Array | None = None


@dataclass
class Pull:
    """One step of the sweep: a gradient was made.

    operation: the index of the operation whose pullback returned it; None where parts were added
    up. into: the index of the value that the gradient belongs to.
    """

    operation: int | None
    into: int
    gradient: Array


@dataclass
class Record:
    """All operations in the order in which they ran, and the backward sweep as a list of pulls.

    calls: the layers' calls, as the doctor's probe saw them.
    """

    loss: float
    logits: Array
    calls: list[LayerCall]
    values: list[Value] = field(default_factory=list)
    operations: list[Operation] = field(default_factory=list)
    pulls: list[Pull] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Bytes of its values and their gradients."""
        arrays = (a for v in self.values for a in (v.data, v.gradient) if a is not None)
        return sum(a.nbytes for a in arrays)

    def value(self, name: str) -> Value:
        """The value of that name."""
        return next(v for v in self.values if v.name == name)


def record_step(
    model: Module,
    images: Array,
    labels: Any,
    loss: Callable[[Any, Any], Any] = cross_entropy,
) -> Record:
    """Run the model forward and backward once, and keep everything.

    It leaves the parameters' `.grad` as an ordinary step does. The gradient by the images is
    computed as well, which training does not need.
    Raises: ConfigError where a hook changes the course of the backward pass.
    """
    x = tensor(images, dtype=images.dtype, requires_grad=True)
    made: list[tuple[str, Array]] = []

    def note(way: str, name: str, layer: Any, array: Array, sources: list[Array]) -> None:
        if way == "backward":
            made.append((name, array))

    model.zero_grad()
    with np.errstate(all="ignore"), probed(model) as calls:
        logits = model(x)
        value = one_number(loss(logits, labels))
        outputs = _recorded(value)
        found = Record(float(value.item()), logits.data, calls)
        numbers = _describe(found, model, x, outputs)
        plan = _plan(outputs, value)
        with observe(note):
            value.backward()
    if [name for name, _, _ in plan] != [name for name, _ in made]:
        raise ConfigError(
            "scope: expected the backward pass to run the recorded operations, but it ran others; "
            "does a hook change it?"
        )
    found.values[numbers[id(value)]].gradient = np.ones_like(value.data)
    for (_, made_by, into), (_, gradient) in zip(plan, made, strict=True):
        operation = None if made_by is None else numbers[id(made_by)]
        at = numbers[id(into)]
        found.pulls.append(
            Pull(None if operation is None else _maker(found, operation), at, gradient)
        )
        found.values[at].gradient = gradient  # the last is the sum of all
    return found


def _maker(found: Record, output: int) -> int:
    return next(i for i, o in enumerate(found.operations) if o.output == output)


def _node(y: Tensor) -> Node:
    assert y.node is not None
    return y.node


def _recorded(loss: Tensor) -> list[Tensor]:
    """Every tensor that an operation made on the way to the loss, in the order of operations."""
    found: dict[int, Tensor] = {}
    waiting = [loss]
    while waiting:
        y = waiting.pop()
        if y.node is not None and id(y) not in found:
            found[id(y)] = y
            waiting += [x for x, _ in y.node.inputs or ()]
    return sorted(found.values(), key=lambda y: _node(y).order)


def _describe(found: Record, model: Module, x: Tensor, outputs: list[Tensor]) -> dict[int, int]:
    """Fill in values and operations; return the number of each value by its tensor's id."""
    paths = {id(module): name for name, module in model.named_modules()}
    parameters = {id(p): name for name, p in model.named_parameters()}
    numbers: dict[int, int] = {}

    def number(t: Tensor, name: str, kind: str, batched: bool) -> int:
        if id(t) not in numbers:
            numbers[id(t)] = len(found.values)
            found.values.append(Value(name, kind, t.data, batched))
        return numbers[id(t)]

    number(x, "images", "images", True)
    for y in outputs:
        node = _node(y)
        inputs = []
        for t, _ in node.inputs or ():
            name = parameters.get(id(t))
            inputs.append(number(t, name or "constant", "parameter" if name else "constant", False))
        from_images = any(found.values[i].batched for i in inputs)
        batched = from_images and y.ndim > 0 and len(y.data) == len(x.data)
        output = number(y, f"v{len(found.operations) + 1}", "result", batched)
        codes = [code_of(pullback) for _, pullback in node.inputs or ()]
        fast = code_of(node.fast) if node.fast else None
        operation = Operation(
            name=node.name,
            layer=paths.get(id(node.layer), "") if node.layer is not None else "",
            kind=type(node.layer).__name__ if node.layer is not None else "",
            inputs=inputs,
            output=output,
            needed=node.needed,
            formulas=[place_of(code) if code else None for code in codes],
            fast=place_of(fast) if fast else None,
        )
        _add_window(operation, node)
        found.operations.append(operation)
    return numbers


def _add_window(operation: Operation, node: Node) -> None:
    """The geometry that the first pullback keeps, if the operation slides a window."""
    if node.inputs:
        held = held_by(node.inputs[0][1])
        convolution = held.get("self")
        if isinstance(convolution, Convolution):
            operation.window, operation.groups = convolution.window, convolution.groups
        elif isinstance(held.get("window"), Window):
            operation.window, operation.winners = held["window"], held.get("index")


def _plan(outputs: list[Tensor], loss: Tensor) -> list[tuple[str, Tensor | None, Tensor]]:
    """The steps that the sweep will make, in order.

    Each is (name, the tensor whose pullback runs, the tensor whose gradient is made). Where parts
    are added up, there is None in the second place. The sweep takes the tensor that was made last
    first, and goes through its inputs in their order.
    """
    plan: list[tuple[str, Tensor | None, Tensor]] = []
    arrived = {id(loss)}
    for y in reversed(outputs):
        node = _node(y)
        if id(y) not in arrived:
            continue
        for (t, _), needed in zip(node.inputs or (), node.needed, strict=True):
            if needed:
                plan.append((node.name, y, t))
                if id(t) in arrived:
                    plan.append(("sum of gradients", None, t))
                arrived.add(id(t))
    return plan
