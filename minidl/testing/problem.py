"""The function under test as a function of arrays: its float inputs to its outputs.

The arrays are NumPy arrays on the host. The function gets them as tensors on the device of the
inputs that the user gave.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ..device import Array, array_module, to_device
from ..errors import GradientError
from ..functional import vjp
from ..modes import no_grad
from ..tensor import Node, Pullback, Tensor, as_tensor, tensor
from .differences import Arrays, terms


class Problem:
    """f as a function of its float inputs alone; the other inputs are constants.

    active: the places of the float inputs among all inputs. values: these inputs in float64.
    order: 1, the derivative that is checked; 2 in `Gradient`.
    """

    def __init__(self, f: Callable[..., Any], inputs: Sequence[Any]) -> None:
        self.name = getattr(f, "__name__", type(f).__name__)
        self.f = f
        self.order = 1
        given = [as_tensor(x) for x in inputs]
        self.device = given[0].device if given else "cpu"
        self.active = [i for i, x in enumerate(given) if x.dtype.kind == "f"]
        self.constants = [x.numpy().copy() for x in given]
        self.values: Arrays = [self.constants[i].astype(np.float64) for i in self.active]
        if not self.active:
            raise self.error("expected a float input to differentiate by, got none")

    def put(self, array: Array) -> Tensor:
        """A tensor of an array from host or device, on the function's device."""
        return Tensor(to_device(array, self.device))

    def leaf(self, array: Array, dtype: Any = np.float64) -> Tensor:
        """A copy of the array as a leaf on the function's device, to differentiate by."""
        return tensor(array, dtype=dtype, device=self.device, requires_grad=True)

    def error(self, message: str) -> GradientError:
        order = "" if self.order == 1 else " (second derivative)"
        return GradientError(f"gradcheck of {self.name}{order}: {message}")

    def call(self, tensors: list[Tensor]) -> list[Tensor]:
        """f with these tensors in the places of its float inputs."""
        args = [self.put(a.copy()) for a in self.constants]
        for i, t in zip(self.active, tensors, strict=True):
            args[i] = t
        before = [a.numpy().copy() for a in args]
        y = self.f(*args)
        if not isinstance(y, Tensor):
            raise self.error(f"expected f to return a Tensor, got {type(y).__name__}")
        for i, (a, b) in enumerate(zip(args, before, strict=True)):
            if not np.array_equal(a.numpy(), b, equal_nan=a.dtype.kind == "f"):
                raise self.error(f"f changes its input {i}: expected it untouched; work on a copy")
        return [y]

    def __call__(self, arrays: Arrays) -> Arrays:
        """The outputs alone. NumPy's warnings are off, since a step may leave the domain of f."""
        with no_grad(), np.errstate(all="ignore"):
            return [y.numpy() for y in self.call([self.put(a.copy()) for a in arrays])]

    def floor(self, arrays: Arrays) -> float:
        """0: an output is taken to be computed from numbers of its own size."""
        return 0.0

    def gradient(self, arrays: Arrays, u: Arrays, dtype: Any = np.float64) -> Arrays:
        """Jᵀu by a backward pass; shape, dtype, memory and finiteness are checked, not values."""
        return [t.grad.numpy() for t in self.backward(arrays, u, dtype)[0] if t.grad is not None]

    def backward(
        self, arrays: Arrays, u: Arrays, dtype: Any = np.float64
    ) -> tuple[list[Tensor], list[Tensor]]:
        """(leaves, outputs) after a backward pass; each leaf has its gradient. Checks as above."""
        leaves = [self.leaf(a, dtype) for a in arrays]
        outputs = self.call(leaves)
        cotangents = [self.put(a.astype(dtype)) for a in u]
        self._pull_back(outputs, cotangents, dtype)
        for i, (leaf, a) in enumerate(zip(leaves, arrays, strict=True)):
            where = f"the gradient of input {self.active[i] if self.order == 1 else i}"
            if not np.array_equal(leaf.numpy(), a.astype(dtype)):
                raise self.error(f"the backward pass changes input {i}: expected it untouched")
            if leaf.grad is None:
                leaf.grad = self.put(np.zeros(a.shape, dtype))
            if leaf.grad.shape != a.shape or leaf.grad.dtype != dtype:
                raise self.error(
                    f"{where} has shape {leaf.grad.shape}, dtype {leaf.grad.dtype}; expected "
                    f"{a.shape}, {np.dtype(dtype)}"
                )
            bad = np.argwhere(~np.isfinite(leaf.grad.numpy()))
            if len(bad):
                raise self.error(
                    f"{where} is {leaf.grad.numpy()[tuple(bad[0])]} at {bad[0].tolist()} (input "
                    f"{a[tuple(bad[0])]!r} there), {len(bad)} of {a.size} elements; is f "
                    "differentiable there?"
                )
            for other in (leaf.data, *(y.data for y in (*outputs, *cotangents))):
                if array_module(other).may_share_memory(leaf.grad.data, other):
                    raise self.error(f"{where} shares memory with another array: expected its own")
        return leaves, outputs

    def _pull_back(self, outputs: list[Tensor], u: list[Tensor], dtype: Any) -> None:
        """Run the backward pass, and check the gradient that each pullback returns."""
        for node in _nodes(outputs):
            checked = [(x, self._checked(node.name, x, pull)) for x, pull in node.inputs or ()]
            node.inputs = tuple(checked)
        for y, g in zip(outputs, u, strict=True):
            if y.requires_grad:
                try:
                    y.backward(g, retain_graph=True)
                except (ArithmeticError, LookupError, TypeError, ValueError) as error:
                    if str(error).startswith("gradcheck"):
                        raise
                    message = f"the backward pass of '{_root(y)}' raised {error!r}"
                    raise self.error(message) from error

    def _checked(self, name: str, x: Tensor, pullback: Pullback) -> Pullback:
        def checked(g: Tensor, y: Tensor) -> Tensor:
            before = [g.numpy().copy(), y.numpy().copy()]
            gx = pullback(g, y)
            if not all(
                np.array_equal(a, t.numpy(), equal_nan=True)
                for a, t in zip(before, (g, y), strict=True)
            ):
                raise self.error(
                    f"the pullback of '{name}' changes the gradient or the output that it is "
                    "given: expected them untouched"
                )
            # Larger is right where x was broadcast: the engine sums such a gradient.
            fits = gx.ndim >= x.ndim and all(
                n in (m, 1) for n, m in zip(x.shape[::-1], gx.shape[::-1], strict=False)
            )
            if not fits:
                raise self.error(
                    f"the pullback of '{name}' gives a gradient of shape {gx.shape} for an input "
                    f"of shape {x.shape}"
                )
            if gx.dtype != g.dtype and name != "astype":
                raise self.error(
                    f"the pullback of '{name}' makes a gradient of dtype {gx.dtype} from {g.dtype}"
                )
            return gx

        return checked

    def ends_in(self) -> str:
        """The name of the operation that the graph ends in."""
        leaves = [self.leaf(a) for a in self.values]
        return ", ".join(dict.fromkeys(_root(y) for y in self.call(leaves)))


class Gradient(Problem):
    """The function (x, u) ↦ Jᵀu of another problem, whose derivative is the second derivative."""

    def __init__(self, first: Problem, u: Arrays) -> None:
        self.name, self.first, self.order = first.name, first, 2
        self.device = first.device
        self.values = [*first.values, *u]
        self.active = list(range(len(self.values)))

    def call(self, tensors: list[Tensor]) -> list[Tensor]:
        n = len(self.first.values)
        _, pull = vjp(lambda *xs: self.first.call(list(xs))[0], *tensors[:n])
        found = pull(tensors[n])
        return [found] if n == 1 else list(found)

    def floor(self, arrays: Arrays) -> float:
        """The size of the terms that the gradient is summed from: they may cancel."""
        *xs, u = arrays
        return terms(xs, self.first(xs), [u])


def _nodes(outputs: list[Tensor]) -> Iterator[Node]:
    """Every node behind the outputs, once."""
    stack, seen = [y.node for y in outputs if y.node], set()
    while stack:
        node = stack.pop()
        if node.order not in seen:
            seen.add(node.order)
            yield node
            stack += [x.node for x, _ in node.inputs or () if x.node]


def _root(y: Tensor) -> str:
    return y.node.name if y.node else "no recorded operation"
