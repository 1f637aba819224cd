"""Module: a part of a network that owns parameters, and the walk that finds them."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, Self, TypeAlias

import numpy as np

from ..checks import new_values, same_shapes
from ..device import FLOAT, Array, to_device
from ..errors import ConfigError
from ..modes import InGraphs, RemovableHook, no_grad, running
from ..notebook import ModuleHtml
from ..tensor import ArrayLike, Tensor, tensor

Hook: TypeAlias = Callable[["Module", tuple[Any, ...], Any], Any]  # (module, inputs, output)
PreHook: TypeAlias = Callable[["Module", tuple[Any, ...]], Any]  # (module, inputs)


class Parameter(Tensor):
    """A tensor that training changes: its own copy of the data, float32 unless dtype is given."""

    __slots__ = ()

    def __init__(self, data: ArrayLike, dtype: Any = FLOAT) -> None:
        super().__init__(tensor(data, dtype=dtype, requires_grad=True).data)
        self.requires_grad = True


class Module(ModuleHtml):
    """Base of layers and networks: a subclass assigns its parts and defines `forward`.

    Attributes that are Parameters or Modules, also in lists, tuples and dicts, are found in the
    order of their assignment, and named by their path ("branch.0.weight"), as in PyTorch.
    buffers: the names of Tensors that are saved but not trained.
    training: whether the module is in training mode; `train` and `eval` set it.
    """

    buffers: tuple[str, ...] = ()
    training: bool
    _forward_hooks: list[RemovableHook]
    _forward_pre_hooks: list[RemovableHook]

    def __new__(cls, *args: Any, **options: Any) -> Self:
        self = super().__new__(cls)  # so that a subclass need not call super().__init__()
        vars(self).update(training=True, _forward_hooks=[], _forward_pre_hooks=[])
        return self

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        for before in tuple(self._forward_pre_hooks):
            changed = before(self, inputs)
            if changed is not None:
                inputs = changed if isinstance(changed, tuple) else (changed,)
        with running(self):
            output = self.forward(*inputs, **options)
        for after in tuple(self._forward_hooks):
            changed = after(self, inputs, output)
            output = output if changed is None else changed
        return output

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """The output for these inputs: each subclass defines its own."""
        raise NotImplementedError(f"{type(self).__name__} must define forward(self, x)")

    def register_forward_hook(self, hook: "Hook", in_graphs: InGraphs = None) -> RemovableHook:
        """Call hook(module, inputs, output) after each forward pass; inputs is a tuple.

        If hook returns a value other than None, the value replaces the output. To see the gradient
        by the output too, let hook call `output.register_hook(f)`.
        in_graphs: for a GPU, where a step may be a CUDA graph. A graph repeats recorded launches
        without Python, so hook runs once, while the step is recorded. If all it does is to compute
        arrays and to note them, give a function here. It is called when the step has been recorded,
        and returns a function that is called after each launch, when the same arrays hold new
        numbers. With None the step is not recorded.
        The result's `remove()` takes the hook off.
        """
        return RemovableHook(self._forward_hooks, hook, in_graphs)

    def register_forward_pre_hook(self, hook: "PreHook") -> RemovableHook:
        """Call hook(module, inputs) before each forward pass; inputs is a tuple.

        If hook returns a value other than None, one input or a tuple of inputs, it replaces the
        inputs. The result's `remove()` takes the hook off.
        """
        return RemovableHook(self._forward_pre_hooks, hook)

    @property
    def is_watched(self) -> bool:
        """Whether a hook looks at this module's inputs or output."""
        return bool(self._forward_hooks or self._forward_pre_hooks)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute. Values that are assigned to a parameter or buffer are written into it.

        The parameter object itself stays, because an optimizer and `state_dict` refer to it. A
        Parameter that is assigned replaces the old one. A NumPy number becomes Python's: as an
        option of a layer, a float64 would turn float32 arrays into float64.
        Raises: ConfigError for a tensor that needs a gradient, ShapeError for another shape.
        """
        held = vars(self).get(name)
        kind = Parameter if isinstance(held, Parameter) else Tensor
        if isinstance(held, Tensor) and value is not None and not isinstance(value, kind):
            held.data[...] = new_values(f"{type(self).__name__}.{name}", held, value)
            held.version += 1
            value = held
        super().__setattr__(name, value.item() if isinstance(value, np.generic) else value)

    def _members(self, kind: type) -> Iterator[tuple[str, Any]]:
        """(name, part) for each attribute of that kind, also in lists, tuples and dicts."""
        for name, value in vars(self).items():
            if not name.startswith("_forward_"):
                yield from _found(name, value, kind)

    def named_modules(self) -> list[tuple[str, "Module"]]:
        """(path, module) of every module in it, parents first; self's path is "".

        A module that is used in two places is listed once, under its first path.
        """
        found: dict[int, tuple[str, Module]] = {}
        waiting: list[tuple[str, Module]] = [("", self)]
        while waiting:
            path, module = waiting.pop()
            if id(module) not in found:
                found[id(module)] = (path, module)
                children = [*module._members(Module)][::-1]  # the first one is popped first
                waiting += ((f"{path}.{name}" if path else name, m) for name, m in children)
        return list(found.values())

    def _state(self) -> dict[str, Tensor]:
        """Every parameter and buffer by name; one that is used twice, under its first name."""
        found: dict[Tensor, str] = {}
        for path, module in self.named_modules():
            buffers = ((name, getattr(module, name)) for name in module.buffers)
            for name, t in (*module._members(Parameter), *buffers):
                found.setdefault(t, f"{path}.{name}" if path else name)
        if len(named := {name: t for t, name in found.items()}) < len(found):
            raise ConfigError(f"{type(self).__name__}: two parameters have one name of {[*named]}")
        return named

    def named_parameters(self) -> list[tuple[str, Parameter]]:
        """(name, parameter) of every parameter in this module and its parts."""
        return [(name, t) for name, t in self._state().items() if isinstance(t, Parameter)]

    def parameters(self) -> list[Parameter]:
        """Every parameter in this module and its parts."""
        return [p for _, p in self.named_parameters()]

    def state_dict(self) -> dict[str, Array]:
        """A copy of every parameter and buffer by name; names and layouts as in PyTorch."""
        return {name: t.data.copy() for name, t in self._state().items()}

    def load_state_dict(self, state: Mapping[str, ArrayLike], strict: bool = True) -> list[str]:
        """Copy in the arrays of a `state_dict`; if any does not fit, change nothing.

        strict: refuse a state with missing or unknown names. With False such names are skipped, and
        the list of them is returned.
        Raises: CheckpointError listing each array of another shape and, if strict, each missing or
        unknown name.
        """
        own = self._state()
        apart = [] if strict else sorted(own.keys() ^ state.keys())
        own, state = ({n: v for n, v in d.items() if n not in apart} for d in (own, dict(state)))
        same_shapes("load_state_dict", {name: t.shape for name, t in own.items()}, state)
        new = {n: tensor(state[n], dtype=t.dtype, device=t.device) for n, t in own.items()}
        for name, t in own.items():
            t.data[...] = new[name].data
            t.version += 1
        return apart

    def train(self, mode: bool = True) -> Self:
        """Switch to training (dropout drops, batch statistics are used); returns self."""
        for _, module in self.named_modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Switch to prediction: each output depends on its own input alone; returns self."""
        return self.train(False)

    def zero_grad(self) -> None:
        """Forget every gradient."""
        for p in self.parameters():
            p.grad = None

    def to(self, device: str) -> Self:
        """Move parameters, buffers and gradients to 'cpu' or 'cuda', in place; returns self."""
        for t in self._state().values():
            if device != t.device:
                t.data = to_device(t.data, device)
            t.grad = t.grad if t.grad is None else t.grad.to(device)
        return self

    def summary(self, input_shape: tuple[int, ...]) -> str:
        """A table of the layers, their output shapes and parameters, for inputs (N, *input_shape).

        The shapes come from a forward pass of zeros, which leaves the model as it was.
        """
        rows = [("layer", "type", "output", "parameters")]
        outputs: dict[int, str] = {}
        like = (*self.parameters(), Tensor(np.zeros((), FLOAT)))[0]

        def note(module: Module, inputs: Any, output: Any) -> None:
            outputs[id(module)] = str(("N", *getattr(output, "shape", "")[1:])).replace("'", "")

        before = [(vars(module), dict(vars(module))) for _, module in self.named_modules()]
        try:
            for now, _ in before:  # the user's hooks are off, as this pass has no real images
                now.update(training=False, _forward_hooks=[note], _forward_pre_hooks=[])
            with no_grad():
                self(Tensor(like._module.zeros((1, *input_shape), like.dtype)))
        finally:
            for now, kept in before:
                now.update(kept)
        for path, module in self.named_modules():
            own = sum(p.size for _, p in module._members(Parameter))
            if own or not any(module._members(Module)):
                rows.append((path, type(module).__name__, outputs.get(id(module), "-"), f"{own:,}"))
        rows.append(("total", "", "", f"{sum(p.size for p in self.parameters()):,}"))
        a, b, c, d = (max(map(len, column)) for column in zip(*rows, strict=True))
        return "\n".join(f"{i:{a}}  {j:{b}}  {k:{c}}  {n:>{d}}" for i, j, k, n in rows)

    def __repr__(self) -> str:
        own = {n: v for n, v in vars(self).items() if isinstance(v, int | float | str | tuple)}
        shown = (n for n, v in own.items() if n != "training" and not any(_found(n, v, Module)))
        options = ", ".join(f"{n}={own[n]!r}" for n in shown)
        parts = (f"\n{name}: {child!r}" for name, child in self._members(Module))
        return f"{type(self).__name__}({options}{''.join(parts).replace(chr(10), chr(10) + '  ')})"

    def __getstate__(self) -> dict[str, Any]:
        """For `pickle` and `copy.deepcopy`: a copy has no hooks."""
        return vars(self) | {"_forward_hooks": [], "_forward_pre_hooks": []}


class Applied(Module):
    """Base of layers without weights: forward applies an operation with the layer's options.

    A subclass names the operation, and lists its options as the fields of a dataclass. `forward`
    takes other options of the operation for one call.
    """

    operation: ClassVar[Callable[..., Tensor]]

    def forward(self, x: ArrayLike, **more: Any) -> Tensor:
        fields = getattr(self, "__dataclass_fields__", ())
        return type(self).operation(x, **{name: getattr(self, name) for name in fields}, **more)


def _found(name: str, value: Any, kind: type) -> Iterator[tuple[str, Any]]:
    """(path, part) for each object of that kind in `value`: itself, or inside lists and dicts."""
    if isinstance(value, kind):
        yield name, value
    elif isinstance(value, list | tuple | dict):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield from _found(f"{name}.{key}", item, kind)
