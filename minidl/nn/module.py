"""Module: a part of a network that owns parameters, and the walk that finds them."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

import numpy as np

from ..checks import same_shapes
from ..device import FLOAT, Array, to_device
from ..modes import no_grad, running
from ..tensor import ArrayLike, Tensor, tensor


class Parameter(Tensor):
    """A tensor that training changes: its own copy of the data, float32 unless dtype is given."""

    __slots__ = ()

    def __init__(self, data: ArrayLike, dtype: Any = FLOAT) -> None:
        super().__init__(tensor(data, dtype=dtype, requires_grad=True).data)
        self.requires_grad = True


class Module:
    """Base of layers and networks: a subclass assigns its parts and defines `forward`.

    Attributes that are Parameters, Modules or lists of them are found in the order of their
    assignment, and named by their path ("branch.0.weight"), as in PyTorch.
    buffers: names of the Tensors that are saved but not trained. training: see `train`.
    hooks: functions (module, output) called after forward; what is not None replaces the output.
    """

    buffers: tuple[str, ...] = ()
    training: bool
    hooks: list[Callable[["Module", Any], Any]]

    def __new__(cls, *args: Any, **options: Any) -> Self:
        self = super().__new__(cls)  # so that a subclass need not call super().__init__()
        self.training, self.hooks = True, []
        return self

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        with running(self):
            output = self.forward(*inputs, **options)
        for hook in self.hooks:
            changed = hook(self, output)
            output = output if changed is None else changed
        return output

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """The output for these inputs: each subclass defines its own."""
        raise NotImplementedError(f"{type(self).__name__} must define forward(self, x)")

    def _members(self, kind: type) -> Iterator[tuple[str, Any]]:
        for name, value in vars(self).items():
            if isinstance(value, list | tuple):
                yield from ((f"{name}.{i}", v) for i, v in enumerate(value) if isinstance(v, kind))
            elif isinstance(value, kind):
                yield name, value

    def named_modules(self) -> list[tuple[str, "Module"]]:
        """Every module with its path, parents first (self is ""), a shared one once."""
        found: dict[int, tuple[str, Module]] = {}

        def visit(path: str, module: Module) -> None:
            if id(module) not in found:
                found[id(module)] = (path, module)
                for name, child in module._members(Module):
                    visit(f"{path}.{name}" if path else name, child)

        visit("", self)
        return list(found.values())

    def _state(self) -> dict[str, Tensor]:
        """Every parameter and buffer by name, a shared one once, under its first name."""
        found: dict[Tensor, str] = {}
        for path, module in self.named_modules():
            buffers = ((name, getattr(module, name)) for name in module.buffers)
            for name, t in (*module._members(Parameter), *buffers):
                found.setdefault(t, f"{path}.{name}" if path else name)
        return {name: t for t, name in found.items()}

    def named_parameters(self) -> list[tuple[str, Parameter]]:
        """(name, parameter) of everything that training changes."""
        return [(name, t) for name, t in self._state().items() if isinstance(t, Parameter)]

    def parameters(self) -> list[Parameter]:
        """Everything that training changes."""
        return [p for _, p in self.named_parameters()]

    def state_dict(self) -> dict[str, Array]:
        """A copy of every parameter and buffer by name; names and layouts as in PyTorch."""
        return {name: t.data.copy() for name, t in self._state().items()}

    def load_state_dict(self, state: Mapping[str, ArrayLike]) -> None:
        """Take over the arrays of a `state_dict`, or none of them unless all fit.

        Raises: CheckpointError listing every missing, unknown and wrongly shaped name.
        """
        own = self._state()
        same_shapes("load_state_dict", {name: t.shape for name, t in own.items()}, state)
        new = {n: tensor(state[n], dtype=t.dtype, device=t.device) for n, t in own.items()}
        for name, t in own.items():
            t.data[...] = new[name].data

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
            t.data = to_device(t.data, device)
            t.grad = t.grad if t.grad is None else t.grad.to(device)
        return self

    def summary(self, input_shape: tuple[int, ...]) -> str:
        """A table of the layers, their outputs and parameters, for inputs (N, *input_shape).

        Found by a run on zeros that leaves the model as it was.
        """
        rows = [("layer", "type", "output", "parameters")]
        outputs: dict[int, str] = {}
        before = [(module, module.training, module.hooks) for _, module in self.named_modules()]
        like = (*self.parameters(), Tensor(np.zeros((), FLOAT)))[0]

        def note(module: Module, output: Any) -> None:
            outputs[id(module)] = str(("N", *getattr(output, "shape", "")[1:])).replace("'", "")

        try:
            for module, _, _ in before:
                module.training, module.hooks = False, [note]
            with no_grad():
                self(Tensor(like._module.zeros((1, *input_shape), like.dtype)))
        finally:
            for module, training, hooks in before:
                module.training, module.hooks = training, hooks
        for path, module in self.named_modules():
            own = sum(p.size for _, p in module._members(Parameter))
            if own or not any(module._members(Module)):
                rows.append((path, type(module).__name__, outputs.get(id(module), "-"), f"{own:,}"))
        rows.append(("total", "", "", f"{sum(p.size for p in self.parameters()):,}"))
        a, b, c, d = (max(map(len, column)) for column in zip(*rows, strict=True))
        return "\n".join(f"{i:{a}}  {j:{b}}  {k:{c}}  {n:>{d}}" for i, j, k, n in rows)

    def __repr__(self) -> str:
        own = {n: v for n, v in vars(self).items() if isinstance(v, int | float | str | tuple)}
        options = ", ".join(f"{n}={v!r}" for n, v in own.items() if n != "training")
        parts = (f"\n{name}: {child!r}" for name, child in self._members(Module))
        return f"{type(self).__name__}({options}{''.join(parts).replace(chr(10), chr(10) + '  ')})"
