"""The record of a computation, and the sweep that carries gradients back through it.

Every operation ends in `record(value, (input, pullback), ...)`. A pullback takes the gradient of
the loss by the output, g, and the output itself, y, and returns the gradient by that input. It is
written in Tensor operations, so with `create_graph` the sweep records itself, and the derivative
of a derivative needs no further rule.
"""

import functools
import heapq
import itertools
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from .backend import Array
from .errors import GradientError, ShapeError

if TYPE_CHECKING:
    from .tensor import Tensor

Pullback = Callable[["Tensor", "Tensor"], "Tensor"]
# Called with "forward" or "backward", the operation's name, the module that ran it (or None), the
# array just made, and the arrays it was made from.
Observer = Callable[[str, str, Any, Array, list[Array]], None]


class _State(threading.local):
    recording = True
    observer: Observer | None = None
    layer: Any = None  # the innermost module that is running


_state = _State()
_orders = itertools.count()
# tensor.py puts its class here: imports point down only.
tensor_class: Any = None


class Node:
    """How a tensor was made: the inputs that need a gradient, each with its pullback.

    name: the operation. layer: the module that ran it, or None.
    """

    __slots__ = ("inputs", "layer", "name", "order")

    def __init__(self, inputs: tuple[tuple["Tensor", Pullback], ...], name: str) -> None:
        self.inputs: tuple[tuple[Tensor, Pullback], ...] | None = inputs
        self.name = name
        self.layer = _state.layer
        self.order = next(_orders)


def record(value: Array, *inputs: tuple["Tensor", Pullback], name: str | None = None) -> "Tensor":
    """A tensor of `value` that remembers how gradients flow back to `inputs`.

    name: the operation's, for messages; by default that of the function that holds the pullbacks.
    """
    out = tensor_class(value)
    if _state.recording and out.data.dtype.kind == "f":
        needed = tuple(pair for pair in inputs if pair[0].requires_grad)
        if needed:
            out.requires_grad = True
            out.node = Node(needed, name or _operation(needed[0][1].__qualname__))
    if _state.observer is not None:
        sources = [x.data for x, _ in inputs]
        called = name or _operation(inputs[0][1].__qualname__)
        _state.observer("forward", called, _state.layer, out.data, sources)
    return out


@functools.cache
def _operation(pullback: str) -> str:
    # A pullback is defined inside its operation: "relu.<locals>.<lambda>".
    operation = pullback.rpartition(".<locals>.")[0] or pullback
    return operation.rpartition(".")[2].lstrip("_")


@contextmanager
def _set(name: str, value: Any) -> Iterator[None]:
    before = getattr(_state, name)
    setattr(_state, name, value)
    try:
        yield
    finally:
        setattr(_state, name, before)


def no_grad() -> Any:
    """Context in which nothing is recorded: results carry no gradient."""
    return _set("recording", False)


def enable_grad() -> Any:
    """Context in which operations are recorded, also inside `no_grad`."""
    return _set("recording", True)


def observe(observer: Observer) -> Any:
    """Context in which `observer` sees every array that an operation or a pullback makes."""
    return _set("observer", observer)


def running(layer: Any) -> Any:
    """Context in which recorded operations belong to `layer`, a module."""
    return _set("layer", layer)


def is_recording() -> bool:
    """Whether operations are being recorded."""
    return _state.recording


def sweep(
    roots: list[tuple["Tensor", "Tensor"]],
    targets: list["Tensor"] | None = None,
    *,
    retain_graph: bool,
    create_graph: bool,
) -> list[tuple["Tensor", "Tensor"]]:
    """Carry the roots' cotangents back; return (tensor, gradient) for the targets or the leaves.

    Nodes are visited in the reverse order of their making, so each is complete when its turn
    comes. There is no recursion, and what a node held is freed as soon as it was used.
    """
    stop = {id(t) for t in targets or ()}
    arrived: dict[int, tuple[Tensor, Tensor]] = {}
    queue: list[tuple[int, int]] = []  # (-order, id): the youngest node first

    def arrive(t: "Tensor", g: "Tensor") -> None:
        if id(t) in arrived:
            g = arrived[id(t)][1] + g
        elif t.node is not None and id(t) not in stop:
            heapq.heappush(queue, (-t.node.order, id(t)))
        arrived[id(t)] = (t, g)

    observer = _state.observer
    # A pullback is observed as a whole, not by the operations it is written in.
    with _set("recording", create_graph), _set("observer", None):
        for root, cotangent in roots:
            arrive(root, cotangent)
        while queue:
            y, g = arrived.pop(heapq.heappop(queue)[1])
            node = y.node
            assert node is not None
            if node.inputs is None:
                raise GradientError(
                    f"backward: the graph behind '{node.name}' (shape {y.shape}) was freed by an "
                    "earlier backward pass; call that one with retain_graph=True"
                )
            for x, pullback in node.inputs:
                gx = pullback(g, y)
                if observer is not None:
                    observer("backward", node.name, node.layer, gx.data, [g.data])
                arrive(x, _fit(gx, x, node.name))
            if not retain_graph:
                node.inputs = None
    return [pair for key, pair in arrived.items() if targets is None or key in stop]


def _fit(g: "Tensor", x: "Tensor", name: str) -> "Tensor":
    """Undo what broadcasting and mixed precision did to x: g in its shape and dtype."""
    here, wanted = g.data, x.data
    if here.shape != wanted.shape:
        new = g.ndim - x.ndim  # axes that broadcasting put in front
        grown = (i for i in range(max(new, 0), g.ndim) if x.shape[i - new] == 1)
        fitted = g.sum((*range(new), *grown), keepdims=True)
        if fitted.shape[max(new, 0) :] != x.shape:
            raise ShapeError(
                f"backward: a pullback of '{name}' gave shape {g.shape} for an input of shape "
                f"{x.shape}; it must have that shape, or one that it broadcasts to"
            )
        g = fitted.reshape(x.shape)
    return g if here.dtype == wanted.dtype else g.astype(x.dtype)


def backward(y: "Tensor", grad: Any, *, retain_graph: bool, create_graph: bool) -> None:
    """Add dL/dx to `.grad` of every leaf x that y was computed from; see `Tensor.backward`."""
    if not y.requires_grad:
        raise GradientError(
            f"backward: expected a result that needs a gradient, got shape {y.shape}, dtype "
            f"{y.dtype}, computed from no tensor with requires_grad=True (or under no_grad)"
        )
    g, free = cotangent_of("backward", y, grad), _holders_of_new()
    pairs = sweep([(y, g)], retain_graph=retain_graph or create_graph, create_graph=create_graph)
    while pairs:
        leaf, g = pairs.pop()
        if leaf.grad is not None:
            with _set("recording", create_graph):
                leaf.grad = leaf.grad + g
        elif create_graph or (g.data.strides == leaf.data.strides and _holders(g) in free):
            leaf.grad = g
        else:  # a copy, lying in memory as its value does: it is nobody else's array
            own = tensor_class(g._module.empty_like(leaf.data))
            own.data[...] = g.data
            leaf.grad = own


def _holders(g: "Tensor") -> tuple[int, ...] | None:
    """How many references there are to g, to its array and to the memory under that.

    None where that memory is not NumPy's own, larger than the array, or not to be written.
    """
    array = g.data
    owner = array if getattr(array, "base", None) is None else array.base
    own = isinstance(array, np.ndarray) and isinstance(owner, np.ndarray) and owner.base is None
    if not own or owner.nbytes > array.nbytes or not array.flags.writeable:
        return None
    return int(owner is array), *map(sys.getrefcount, (g, array, owner))


@functools.cache
def _holders_of_new() -> set[tuple[int, ...] | None]:
    """The same for tensors that only the caller holds: how Python counts differs by version."""
    owner = tensor_class(np.empty(2))
    counts = {_holders(owner)}
    view = tensor_class(np.empty(2)[::-1])
    return counts | {_holders(view)}


def cotangent_of(call: str, y: "Tensor", grad: Any) -> "Tensor":
    """dL/dy as a tensor of y's shape: 1 for a scalar y when grad is None."""
    xp = y._module
    if grad is None:
        if y.size != 1:
            raise GradientError(
                f"{call}: expected a scalar, got shape {y.shape}; reduce it with .sum() or "
                ".mean(), or pass the gradient of the loss by it, of the same shape"
            )
        return tensor_class(xp.ones_like(y.data))
    g = grad if isinstance(grad, tensor_class) else tensor_class(xp.asarray(grad, dtype=y.dtype))
    if g.shape != y.shape:
        raise ShapeError(f"{call}: expected a gradient of shape {y.shape}, got {g.shape}")
    return g
