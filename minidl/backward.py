"""The sweep: gradients carried back through the graph, from its last operation to its first.

A tensor that an operation made has a `node` (see `tensor.Node`): the operation's inputs, and for
each the pullback that turns the gradient of this tensor into the gradient of that input. The chain
rule is then a walk: take the tensor that was made last, hand its gradient to its pullbacks, add up
the gradients that arrive at each input, and go on with the tensor that was made last of the rest.
"""

import heapq
from collections.abc import Iterator
from typing import TYPE_CHECKING

from .errors import GradientError, ShapeError
from .modes import switched, switches

if TYPE_CHECKING:
    from .tensor import Tensor

Pair = tuple["Tensor", "Tensor"]  # a tensor and the gradient of the loss by it


def sweep(
    roots: list[Pair],
    targets: list["Tensor"] | None = None,
    *,
    retain_graph: bool,
    create_graph: bool,
) -> list[Pair]:
    """Carry the roots' gradients back; return (tensor, gradient) for each target that they reach.

    Operations are numbered as they run (`node.order`), so an operation has a higher number than
    every operation that its inputs came from. The highest number is taken first. Therefore all
    parts of a gradient have arrived before the gradient is handed on. There is no recursion:
    100,000 operations in a row work.
    roots: pairs (tensor, dL/dtensor) to start from.
    targets: tensors at which the walk stops; None means the leaves.
    retain_graph: keep the graph for another sweep. Otherwise each node is freed after its use.
    create_graph: record the pullbacks' operations, so that the gradients can be differentiated.
    Raises: GradientError where the graph was freed or values were changed since; ShapeError where
    a pullback or a hook returns a gradient of another shape.
    """
    stop = {id(t) for t in targets or ()}
    arrived: dict[int, Pair] = {}
    waiting: list[tuple[int, int]] = []  # (-order, id) of the tensors whose pullbacks are to run

    observer = switches.observer

    def arrive(t: "Tensor", g: "Tensor") -> None:
        if id(t) in arrived:
            parts = [arrived[id(t)][1], g]
            g = parts[0] + g
            if observer is not None:
                seen = t.node and t.node.layer, g.data, [p.data for p in parts]
                observer("backward", "sum of gradients", *seen)
        elif t.node is not None and id(t) not in stop:
            heapq.heappush(waiting, (-t.node.order, id(t)))
        arrived[id(t)] = (t, g)

    # The observer is off while pullbacks run; it is called once with each pullback's result.
    with switched("recording", create_graph), switched("observer", None):
        for root, cotangent in roots:
            arrive(root, cotangent)
        while waiting:
            y, g = arrived.pop(heapq.heappop(waiting)[1])
            node, g = y.node, _complete(y, g)
            assert node is not None
            for x, gx in _pull_back(y, g, create_graph):
                gx = _fit(gx, x, node.name)
                if observer is not None:
                    observer("backward", node.name, node.layer, gx.data, [g.data])
                arrive(x, gx)
            if not retain_graph:
                node.release()
        ends = [pair for pair in arrived.values() if targets is None or id(pair[0]) in stop]
        return [(t, _complete(t, g)) for t, g in ends]


def _pull_back(y: "Tensor", g: "Tensor", create_graph: bool) -> Iterator[Pair]:
    """(input, dL/dinput) for each input of y's operation that needs a gradient.

    The pullbacks are Tensor operations, which a recorded sweep needs. Without recording, the
    operation's `fast` function is taken if it has one.
    """
    node = y.node
    assert node is not None
    if node.inputs is None:
        raise GradientError(
            f"backward: the graph behind '{node.name}' (shape {y.shape}) was freed by an "
            "earlier backward pass; call that one with retain_graph=True"
        )
    node.check_unchanged(y)
    if node.fast is not None and not create_graph:
        gradients = node.fast(g, y, node.needed)
        pairs = zip(node.inputs, node.needed, gradients, strict=True)
        yield from [(x, gx) for (x, _), needed, gx in pairs if needed and gx is not None]
        return
    for (x, pullback), needed in zip(node.inputs, node.needed, strict=True):
        if needed:
            gx = pullback(g, y)
            if not hasattr(gx, "requires_grad"):
                raise GradientError(
                    f"backward: expected a pullback of '{node.name}' to return a Tensor, got "
                    f"{type(gx).__name__}; write it in Tensor operations, without .data"
                )
            yield x, gx


def _complete(t: "Tensor", g: "Tensor") -> "Tensor":
    """The whole gradient of t, all its parts added up: shown to t's hooks, and kept if t asks."""
    for hook in tuple(t.hooks or ()):
        changed = hook(g)
        if changed is not None and not (hasattr(changed, "node") and changed.shape == g.shape):
            raise ShapeError(
                f"backward: expected a hook of a tensor of shape {t.shape} to return a Tensor of "
                f"that shape or None, got {changed!r}"
            )
        g = g if changed is None else _fit(changed, t, "hook")
    if t.keeps_grad and t.node is not None:
        t.add_gradient(g)
    return g


def _fit(g: "Tensor", x: "Tensor", name: str) -> "Tensor":
    """g in x's shape and dtype: undoes what broadcasting and mixed precision did to x.

    A value of x that was repeated along an axis has as its gradient the sum along that axis.
    """
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
    if wanted.dtype.kind in "iub":
        raise GradientError(
            f"backward: an input of '{name}' has dtype {wanted.dtype}, which carries no gradient"
        )
    return g if here.dtype == wanted.dtype else g.astype(x.dtype)
