"""Tensor: an array that remembers how it was made, so that gradients can find their way back.

    x = md.tensor(3.0, requires_grad=True)
    y = x * x                # y.node: the operation "multiply", its inputs and their pullbacks
    y.backward()             # walks back from y: x.grad is 6

Every operation ends in `record(value, (input, pullback), ..., name=...)`. A pullback takes g, the
gradient of the loss by the operation's output, and y, that output, and returns the gradient by the
input. It is written in Tensor operations: with `create_graph` the walk back is recorded itself, and
the derivative of a derivative needs no further rule. The walk stands in `backward.py`.

The operators and methods that are operations (`+`, `@`, `.sum()`, ...) are attached by `ops`, where
each stands beside its derivative; `operators` declares them.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np

from . import arrays, backward, memory
from .arrays import as_array
from .device import FLOAT, Array, array_module, device_of, number, one, to_device, to_host
from .errors import DeviceError, DTypeError, GradientError, ShapeError
from .habits import TENSORS, missing
from .modes import RemovableHook, switched, switches
from .operators import Operators

ArrayLike: TypeAlias = Any  # a Tensor, an array, a number, or nested lists of numbers
Pullback = Callable[["Tensor", "Tensor"], "Tensor"]  # (g, y) -> the gradient by one input
Inputs = tuple[tuple["Tensor", Pullback], ...]  # of an operation
# (g, y, needed) -> the gradients by all inputs at once, None for those that are not needed.
Fast = Callable[["Tensor", "Tensor", tuple[bool, ...]], Sequence["Tensor | None"]]

_numbers = itertools.count()
_adding = memory.lock()  # two threads may add to one parameter's gradient


class Node:
    """How a tensor was made: the operation, its inputs, and a pullback for each.

    name: the operation's name. inputs: pairs (input, pullback). layer: the module that ran the
    operation, or None. order: a number that grows with each operation that runs. needed: for each
    input, whether it needs a gradient. versions: each input's `version` when the operation ran, and
    at the end the result's, which is not 0 if the result is a view of an input.
    fast: a function that gives all gradients at once, or None. A sweep takes it in place of the
    pullbacks, unless the sweep is recorded itself (create_graph).
    """

    __slots__ = ("fast", "inputs", "layer", "name", "needed", "order", "versions")

    def __init__(self, name: str, inputs: "Inputs", fast: Fast | None, y: "Tensor") -> None:
        self.name = name
        self.inputs: Inputs | None = inputs
        self.needed = tuple([x.requires_grad for x, _ in inputs])
        self.versions = [*(x._changes[0] for x, _ in inputs), y._changes[0]]
        self.fast = fast
        self.layer = switches.layer
        self.order = next(_numbers)

    def check_unchanged(self, y: "Tensor") -> None:
        """Raise GradientError if the values of y or of an input were changed since y was made."""
        pairs = zip(self.inputs or (), self.versions, strict=False)
        changed = [f"its input of shape {x.shape}" for (x, _), n in pairs if x._changes[0] != n]
        if y._changes[0] != self.versions[-1]:
            changed.append("its result")
        if changed:
            raise GradientError(
                f"backward: {changed[0]} has been changed since '{self.name}' used it (by an "
                "optimizer's step, load_state_dict or an assignment to .data), so the gradient "
                "would belong to no weights at all; call backward() before the change, or run the "
                "forward pass again after it"
            )

    def release(self) -> None:
        """Forget the inputs and the pullbacks, and so free the arrays that only they hold."""
        self.inputs = self.fast = None


def record(
    value: Array,
    *inputs: tuple["Tensor", Pullback],
    name: str = "operation",
    fast: Fast | None = None,
) -> "Tensor":
    """A tensor of `value` that remembers how gradients flow back to `inputs`.

    name: the operation's name, which messages and observers show.
    fast: a faster way to the same gradients, all at once, in array code. The pullbacks are the
    formula; `fast` replaces them unless the sweep is recorded. It must not change its arguments.
    Raises: GradientError where an input is not a pair (tensor, pullback).
    """
    y, needed, view = Tensor(value), False, getattr(value, "base", None) is not None
    try:
        for x, _ in inputs:
            needed = needed or x.requires_grad
            if value is x._data or (view and memory.is_view(value, x._data)):
                y._changes = x._changes  # it has its input's values, and changes with them
    except (TypeError, ValueError, AttributeError):
        raise GradientError(
            f"record: expected a pair (input, pullback) for each input of '{name}', as in "
            f"record(value, (x, lambda g, y: ...)), got {inputs!r}"
        ) from None
    if needed and switches.recording and y._data.dtype.kind == "f":
        y.requires_grad, y.node = True, Node(name, inputs, fast, y)
    if switches.observer is not None:
        switches.observer("forward", name, switches.layer, y.data, [x.data for x, _ in inputs])
    return y


class Tensor(Operators):
    """An array on one device; with requires_grad, operations on it are recorded.

    data: the array (numpy or cupy). grad: dL/dself after `backward`, or None. Only leaves keep
    theirs, and tensors for which `retain_grad` was called. version: counts how often the values
    were changed. A backward pass compares it, and refuses values that the operation never saw.
    """

    __slots__ = (
        *("__weakref__", "_data", "grad", "hooks", "keeps_grad", "node", "requires_grad"),
        "_changes",
    )
    __array_priority__ = 1000  # CuPy's `array + tensor` is our __radd__; its own priority is 100
    __hash__ = object.__hash__

    def __init__(self, data: Array) -> None:
        self._data: Array = np.asarray(data) if isinstance(data, np.generic) else data
        self.grad: Tensor | None = None
        self.requires_grad = self.keeps_grad = False
        self.node: Node | None = None
        self.hooks: list[Callable[[Tensor], Tensor | None]] | None = None
        self._changes = [0]

    # A list holds the count, because a detached tensor, or a view made without recording, has the
    # same values, and so the same count.
    version: Any = property(lambda t: t._changes[0], lambda t, n: t._changes.__setitem__(0, n))

    @property
    def data(self) -> Array:
        """The array; assigning another one counts as a change of this tensor's values."""
        return self._data

    @data.setter
    def data(self, array: Array) -> None:
        # A detached tensor keeps the old array, and so its count.
        self._changes = self._changes if array is self._data else [self.version]
        self._data = np.asarray(array) if isinstance(array, np.generic) else array
        self.version += 1

    @property
    def _module(self) -> Any:
        return array_module(self._data)

    @property
    def shape(self) -> tuple[int, ...]:
        return self._data.shape

    @property
    def ndim(self) -> int:
        return self._data.ndim

    @property
    def size(self) -> int:
        return self._data.size

    @property
    def dtype(self) -> np.dtype:
        return self._data.dtype

    @property
    def device(self) -> str:
        """'cpu' or 'cuda'."""
        return device_of(self._data)

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded operation made this tensor."""
        return self.node is None

    def backward(
        self, grad: ArrayLike = None, *, retain_graph: bool = False, create_graph: bool = False
    ) -> None:
        """Add dL/dx to `.grad` of every leaf x with requires_grad that self was computed from.

        grad: dL/dself, of self's shape; a scalar needs none (dL/dL = 1).
        retain_graph: keep the graph for another backward pass.
        create_graph: record the pass itself, so that its results can be differentiated.
        Raises: GradientError where nothing was recorded, self is not a scalar and grad is
        missing, the graph was freed, or values were changed since; ShapeError where grad's shape
        is not self's.
        """
        if not self.requires_grad:
            raise GradientError(
                f"backward: expected a result that needs a gradient, got shape {self.shape}, dtype "
                f"{self.dtype}, computed from no tensor with requires_grad=True (or under no_grad)"
            )
        root = [(self, cotangent_of("backward", self, grad))]
        keep = retain_graph or create_graph
        pairs = backward.sweep(root, retain_graph=keep, create_graph=create_graph)
        root.clear()
        with switched("recording", create_graph):
            while pairs:
                leaf, g = pairs.pop()
                alone = memory.nobody_else_holds(g)
                leaf.add_gradient(g, share=alone)

    def add_gradient(self, g: "Tensor", share: bool = False) -> None:
        """Add g to `.grad`, whose array can be written and belongs to no other tensor.

        share: whether nobody else uses g's array. If so, and if it has the memory order of the
        values, it becomes `.grad` without a copy. Otherwise g is copied into that order, because
        an optimizer can then read gradient and values together in one pass over memory.
        """
        with _adding:
            if self.grad is not None:
                self.grad = self.grad + g
            elif share and g.data.strides == self.data.strides:
                self.grad = g
            else:
                array = g._module.empty_like(self.data)
                array[...] = g.data
                self.grad = Tensor(array)
                if g.requires_grad:  # the sweep is recorded: the copy stays part of it
                    self.grad = record(array, (g, lambda h, y: h), name="copy")

    def retain_grad(self) -> None:
        """Keep `.grad` at the next backward pass, although this tensor is no leaf.

        Raises: GradientError for a tensor that no gradient will reach.
        """
        self._check_reached("retain_grad")
        self.keeps_grad = True

    def register_hook(self, hook: Callable[["Tensor"], "Tensor | None"]) -> RemovableHook:
        """Call hook(g) in each backward pass, with the whole gradient g by this tensor.

        What hook returns takes the place of g, unless it is None. The result's `remove()` takes
        the hook off. Raises: GradientError for a tensor that no gradient will reach.
        """
        self._check_reached("register_hook")
        self.hooks = [] if self.hooks is None else self.hooks
        return RemovableHook(self.hooks, hook)

    def _check_reached(self, call: str) -> None:
        if not self.requires_grad:
            raise GradientError(
                f"{call}: no gradient will reach this tensor: it was computed from no tensor with "
                "requires_grad=True (or under no_grad)"
            )

    def numpy(self) -> np.ndarray:
        """The values as a NumPy array: the tensor's own array on the CPU, a copy from a GPU.

        With requires_grad the result is read-only if it is the tensor's own array, because a
        backward pass may still need the values.
        """
        array = to_host(self.data)
        if self.requires_grad and array is self.data:
            array = array.view()
            array.flags.writeable = False
        return array

    def item(self) -> Any:
        """The one value as a Python number. Raises: ShapeError unless there is exactly one."""
        if self.size != 1:
            raise ShapeError(f"item: expected one value, got shape {self.shape}")
        return self.data.item()

    def detach(self) -> "Tensor":
        """A tensor of the same array, not copied, through which no gradient flows back."""
        out = Tensor(self.data)
        out._changes = self._changes
        return out

    def to(self, device: str) -> "Tensor":
        """This tensor on 'cpu' or 'cuda'; itself if it is there already. Gradients flow back.

        Raises: DeviceError for an unknown device, or one that this computer lacks.
        """
        here = self.device
        if device == here:
            return self
        moved = to_device(self.data, device)
        return record(moved, (self, lambda g, y: g.to(here)), name="to")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if self.device != "cpu":
            raise DeviceError(f"a tensor on '{self.device}' is no NumPy array: use .numpy()")
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    def __dlpack__(self, **kwargs: Any) -> Any:
        return self.data.__dlpack__(**kwargs)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.data.__dlpack_device__()

    def __repr__(self) -> str:
        text = np.array2string(self.numpy(), separator=", ", prefix="tensor(")
        grad = ", requires_grad=True" if self.requires_grad else ""
        return f"tensor({text}, dtype={self.dtype}{grad})"

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else str(self)

    def __getattr__(self, name: str) -> Any:
        missing("Tensor", name, TENSORS)

    def __len__(self) -> int:
        if self.ndim == 0:
            raise ShapeError("len: a tensor of shape () has no length")
        return self.shape[0]

    def __iter__(self) -> Iterator["Tensor"]:
        return (self[i] for i in range(len(self)))

    def __bool__(self) -> bool:
        return bool(self.item())

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __reduce__(self) -> Any:
        """For `pickle` and `copy`: the values and the gradient, without the history."""
        return _restored, (type(self), self.data, self.grad, self.requires_grad)


def _restored(kind: Any, data: Array, grad: Tensor | None, requires_grad: bool) -> Tensor:
    """The tensor that `pickle` and `copy` build from the parts that `__reduce__` gives."""
    t = kind.__new__(kind)
    Tensor.__init__(t, data)
    t.grad, t.requires_grad = grad, requires_grad
    return t


def cotangent_of(call: str, y: Tensor, grad: ArrayLike) -> Tensor:
    """dL/dy as a tensor of y's shape: 1 for a scalar y when grad is None."""
    if grad is None:
        if y.size != 1:
            raise GradientError(
                f"{call}: expected a scalar, got shape {y.shape}; reduce it with .sum() or "
                ".mean(), or pass the gradient of the loss by it, of the same shape"
            )
        return Tensor(one(y.data))
    if not isinstance(grad, Tensor):
        grad = Tensor(y._module.asarray(as_array(call, grad), dtype=y.dtype))
    g = grad if grad.dtype.kind in "fc" else Tensor(grad.data.astype(y.dtype))
    if g.shape != y.shape:
        raise ShapeError(f"{call}: expected a gradient of shape {y.shape}, got {g.shape}")
    return g


def tensor(
    data: ArrayLike, *, dtype: Any = None, device: str | None = None, requires_grad: bool = False
) -> Tensor:
    """A tensor with its own copy of the data.

    dtype: by default float32 for floating-point data; integers and bools keep their own.
    device: 'cpu' or 'cuda'; by default the device of the data.
    Raises: DTypeError for data that are no numbers, or requires_grad on integers;
    ShapeError for ragged lists; DeviceError for a device that is not there.
    """
    source = data.data if isinstance(data, Tensor) else as_array("tensor", data)
    if dtype is None and source.dtype.kind == "f":
        dtype = FLOAT
    try:
        array = array_module(source).array(source, dtype=dtype)
    except TypeError as error:
        raise DTypeError(f"tensor: expected a NumPy dtype, got {dtype!r}") from error
    out = Tensor(to_device(array, device) if device else array)
    if requires_grad and out.dtype.kind != "f":
        raise DTypeError(
            f"tensor: requires_grad=True needs floating-point data, got {out.dtype}; integers and "
            "bools carry no gradient: pass dtype='float32'"
        )
    out.requires_grad = bool(requires_grad)
    return out


def as_tensor(x: ArrayLike, like: Tensor | None = None) -> Tensor:
    """x as a Tensor. An array is not copied and keeps its dtype; Python floats become float32.

    like: if x is a number, it gets the dtype and device of this tensor: 2.0 * t keeps t's dtype.
    Raises: DTypeError, ShapeError or GradientError for an x that is no array of numbers.
    """
    if isinstance(x, Tensor):
        return x
    if like is not None and isinstance(x, bool | int | float | np.integer | np.floating | np.bool_):
        whole = like.dtype.kind in "iub" and not isinstance(x, float | np.inexact)
        dtype = like.dtype if like.dtype.kind in "fc" else None if whole else FLOAT
        return Tensor(number(x, like.data, dtype))
    array = as_array("as_tensor", x)
    of_python = not hasattr(x, "dtype")
    return Tensor(array.astype(FLOAT) if of_python and array.dtype.kind == "f" else array)


def from_dlpack(source: Any) -> Tensor:
    """A tensor that shares the memory of any array with `__dlpack__` (torch, jax, cupy, ...).

    Raises: DTypeError for an object whose memory cannot be shared.
    """
    return Tensor(arrays.from_dlpack(source))
