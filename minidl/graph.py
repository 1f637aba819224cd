"""The record of a computation, and the sweep that carries gradients back through it.

Every operation ends in `record(value, (input, pullback), ...)`. A pullback takes the gradient of
the loss by the output, g, and the output itself, y, and returns the gradient by that input. It is
written in Tensor operations, so with `create_graph` the sweep records itself, and the derivative
of a derivative needs no further rule.
"""

import heapq
import itertools
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
# Called with "forward" or "backward", the operation's name, its node's order (-1: no node), the
# array just made, and the arrays it was made from.
Observer = Callable[[str, str, int, Array, list[Array]], None]


class _State(threading.local):
    recording = True
    observer: Observer | None = None


_state = _State()
_orders = itertools.count()
# tensor.py puts its class here: imports point down only.
tensor_class: Any = None


class Node:
    """How a tensor was made: the inputs that need a gradient, each with its pullback."""

    __slots__ = ("inputs", "name", "order")

    def __init__(self, inputs: tuple[tuple["Tensor", Pullback], ...], name: str) -> None:
        self.inputs: tuple[tuple[Tensor, Pullback], ...] | None = inputs
        self.name = name
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
            out.node = Node(needed, name or _name(needed[0][1]))
    if _state.observer is not None:
        order = out.node.order if out.node else -1
        sources = [x.data for x, _ in inputs]
        _state.observer("forward", name or _name(inputs[0][1]), order, out.data, sources)
    return out


def _name(pullback: Pullback) -> str:
    # A pullback is defined inside its operation: "relu.<locals>.<lambda>".
    return pullback.__qualname__.partition(".")[0].lstrip("_")


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


def is_recording() -> bool:
    """Whether operations are being recorded."""
    return _state.recording


def sweep(
    roots: list[tuple["Tensor", "Tensor"]],
    targets: list["Tensor"] | None = None,
    *,
    retain_graph: bool = False,
    create_graph: bool = False,
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
                    observer("backward", node.name, node.order, gx.data, [g.data])
                arrive(x, _fit(gx, x))
            if not retain_graph:
                node.inputs = None
    return [pair for key, pair in arrived.items() if targets is None or key in stop]


def _fit(g: "Tensor", x: "Tensor") -> "Tensor":
    """Undo what broadcasting and mixed precision did to x: g in its shape and dtype."""
    if g.shape != x.shape:
        new = g.ndim - x.ndim  # axes that broadcasting put in front
        grown = (i for i in range(new, g.ndim) if x.shape[i - new] == 1)
        g = g.sum((*range(new), *grown), keepdims=True).reshape(x.shape)
    return g if g.dtype == x.dtype else g.astype(x.dtype)


def backward(
    y: "Tensor", grad: Any = None, *, retain_graph: bool = False, create_graph: bool = False
) -> None:
    """Add dL/dx to `.grad` of every leaf x that y was computed from; see `Tensor.backward`."""
    if not y.requires_grad:
        raise GradientError(
            f"backward: expected a result that needs a gradient, got shape {y.shape}, dtype "
            f"{y.dtype}, computed from no tensor with requires_grad=True (or under no_grad)"
        )
    g = _cotangent("backward", y, grad)
    pairs = sweep([(y, g)], retain_graph=retain_graph or create_graph, create_graph=create_graph)
    for leaf, g in pairs:
        if leaf.grad is not None:
            with _set("recording", create_graph):
                leaf.grad = leaf.grad + g
        elif create_graph:
            leaf.grad = g
        else:  # a copy, lying in memory as its value does: it is nobody else's array
            own = tensor_class(g._module.empty_like(leaf.data))
            own.data[...] = g.data
            leaf.grad = own


def _cotangent(call: str, y: "Tensor", grad: Any) -> "Tensor":
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


def _inner(args: tuple[Any, ...], argnums: tuple[int, ...]) -> tuple[list[Any], list["Tensor"]]:
    """The arguments with tensors of our own at argnums, still tied to the caller's graph."""
    arguments = list(args)
    for i in argnums:
        if not -len(args) <= i < len(args):
            raise ShapeError(
                f"grad: argnums {argnums} asks for more than the {len(args)} arguments"
            )
        x = args[i] if isinstance(args[i], tensor_class) else tensor_class.from_data(args[i])
        own = record(x.data, (x, lambda g, y: g))
        own.requires_grad = True
        if own.data.dtype.kind != "f":
            raise GradientError(
                f"grad: argument {i} has dtype {own.dtype}; only floating-point tensors carry a "
                "gradient: pass dtype='float32' or 'float64'"
            )
        arguments[i] = own
    return arguments, [arguments[i] for i in argnums]


def _wanted_outside(y: "Tensor", targets: list["Tensor"]) -> bool:
    """Whether y depends on anything but the targets that somebody else may differentiate by."""
    seen = {id(t) for t in targets}
    if any(t.node is not None for t in targets):
        return True
    stack = [y]
    while stack:
        t = stack.pop()
        if id(t) not in seen:
            seen.add(id(t))
            if t.node is None and t.requires_grad:
                return True
            stack.extend(x for x, _ in (t.node and t.node.inputs) or ())
    return False


def vjp(f: Callable[..., Any], *args: Any) -> tuple["Tensor", Callable[..., Any]]:
    """f(*args), and the function that carries a cotangent u back: u ↦ uᵀ·J, one per argument.

    The pullback gives a tensor for one argument and a tuple for several.
    """
    y, pull = _vjp(f, args, tuple(range(len(args))))

    def pullback(u: Any) -> Any:
        grads = pull(u)
        return grads[0] if len(args) == 1 else tuple(grads)

    return y, pullback


def _vjp(
    f: Callable[..., Any], args: tuple[Any, ...], argnums: tuple[int, ...]
) -> tuple["Tensor", Callable[[Any], list["Tensor"]]]:
    outside = is_recording()
    with enable_grad():
        arguments, targets = _inner(args, argnums)
        y = f(*arguments)
        if not isinstance(y, tensor_class):
            raise GradientError(f"grad: expected the function to return a Tensor, got {type(y)}")
    keep = outside and _wanted_outside(y, targets)

    def pull(u: Any) -> list["Tensor"]:
        g = _cotangent("grad", y, u)
        tracked = keep or (is_recording() and g.requires_grad)
        pairs = sweep([(y, g)], targets, retain_graph=True, create_graph=tracked)
        found = {id(t): g for t, g in pairs}
        zeros = [tensor_class(t._module.zeros_like(t.data)) for t in targets]
        return [found.get(id(t), zero) for t, zero in zip(targets, zeros, strict=True)]

    return (y if keep else y.detach()), pull


def value_and_grad(
    f: Callable[..., Any], argnums: int | tuple[int, ...] = 0
) -> Callable[..., tuple["Tensor", Any]]:
    """The function x ↦ (f(x), ∂f/∂x) of a scalar-valued f; a tuple for several argnums."""
    numbers = (argnums,) if isinstance(argnums, int) else tuple(argnums)

    def wrapped(*args: Any) -> tuple["Tensor", Any]:
        y, pull = _vjp(f, args, numbers)
        grads = pull(None)
        return y, (grads[0] if isinstance(argnums, int) else tuple(grads))

    return wrapped


def grad(f: Callable[..., Any], argnums: int | tuple[int, ...] = 0) -> Callable[..., Any]:
    """The function x ↦ ∂f/∂x of a scalar-valued f. `grad(grad(f))` is the second derivative."""
    both = value_and_grad(f, argnums)
    return lambda *args: both(*args)[1]


def jvp(f: Callable[..., Any], primals: Any, tangents: Any) -> tuple["Tensor", "Tensor"]:
    """f(x) and J·v, the change of f along v; x and v are one tensor or tuples of them.

    The pullback u ↦ uᵀJ is linear in u, so its own pullback at any u is v ↦ J·v.
    """
    xs = primals if isinstance(primals, tuple) else (primals,)
    vs = tangents if isinstance(tangents, tuple) else (tangents,)
    y, pull = _vjp(f, xs, tuple(range(len(xs))))

    def along(u: "Tensor") -> "Tensor":
        terms = [(g * v).sum() for g, v in zip(pull(u), vs, strict=True)]
        return sum(terms[1:], terms[0])

    for x, v in zip(xs, vs, strict=True):
        if np.shape(x) != np.shape(v):
            raise ShapeError(f"jvp: expected a tangent of shape {np.shape(x)}, got {np.shape(v)}")
    slope = grad(along)(y.detach())
    wanted = y.requires_grad or any(getattr(v, "requires_grad", False) for v in vs)
    return y, (slope if wanted else slope.detach())


def hvp(f: Callable[..., Any], x: Any, v: Any) -> "Tensor":
    """H·v, the Hessian of a scalar-valued f at x times v, without forming H."""
    if np.shape(x) != np.shape(v):
        raise ShapeError(f"hvp: expected v of shape {np.shape(x)}, got {np.shape(v)}")
    return grad(lambda z: (grad(f)(z) * v).sum())(x)


def jacobian(f: Callable[..., Any], *args: Any, argnums: int = 0) -> Any:
    """∂f/∂x at the arguments, of shape f's output + x's; without arguments, a function of them."""
    if not args:
        return lambda *later: jacobian(f, *later, argnums=argnums)
    y, pull = _vjp(f, args, (argnums,))
    shape = y.shape + np.shape(args[argnums])
    xp, rows = y._module, []
    for i in range(y.size):
        u = xp.zeros(y.size, dtype=y.dtype)
        u[i] = 1
        rows.append(pull(u.reshape(y.shape))[0])
    if not rows:
        return tensor_class(xp.zeros(shape, dtype=y.dtype))
    return tensor_class.stack(rows).reshape(shape)
