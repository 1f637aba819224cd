"""Optimizer: groups of parameters, their options, and the state that is kept between steps.

The formulas stand in `rules`. A step is in place: it changes the parameters' own arrays.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

import numpy as np

from .. import kernels
from ..checks import (
    check,
    check_writable,
    gradient_of,
    optimizer_options,
    param_groups,
    same_shapes,
)
from ..device import Array, device_of, is_host, to_device
from ..errors import ConfigError
from ..tensor import Tensor, tensor


def option(name: str) -> Any:
    """An option as an attribute: the first group's value; assigning sets it in all groups."""

    def assign(optimizer: "Optimizer", value: Any) -> None:
        for group in optimizer.param_groups:
            group[name] = value

    return property(lambda optimizer: optimizer.param_groups[0][name], assign)


class Optimizer:
    """Base of the optimizers: a subclass has options, slots and a formula.

    params: a model, tensors (`model.parameters()`), or groups of them with options of their own, as
    in PyTorch: `SGD([{"params": [...], "lr": 0.1}, {"params": [...]}], lr=0.01)`.
    param_groups: a dictionary for each group: "params", each option, and "initial_lr".
    lr: the learning rate of the first group. Assigning it sets the rates of all groups in the ratio
    of their initial rates, so that one schedule serves them all.
    state: the arrays that are kept between steps; those of parameter 0 are "0.step",
    "0.velocity", ...

    A step changes the parameters in place and leaves their gradients alone. A parameter without a
    gradient, or with requires_grad=False, is skipped.
    Raises: ConfigError for params that are no tensors, and for options outside their range.
    """

    formula: ClassVar[Callable[..., tuple[Array, ...]]]  # (theta, g, t, *slots) -> new theta, slots
    fast: ClassVar[str] = ""  # the formula's name in kernels/cpu/update.py and gpu/update.cu
    weight_decay = option("weight_decay")

    def __init__(self, params: Any, **options: Any) -> None:
        self.options = tuple(options)  # the names of every group's options
        self.state: dict[str, Array] = {}
        self.param_groups = param_groups(type(self).__name__, params, options)
        for group in self.param_groups:
            group["initial_lr"] = self.checked(group)["lr"]

    @property
    def params(self) -> list[Tensor]:
        """The parameters of all groups."""
        return [p for group in self.param_groups for p in group["params"]]

    @property
    def lr(self) -> float:
        """The rate of the first group."""
        return self.param_groups[0]["lr"]

    @lr.setter
    def lr(self, rate: float) -> None:
        check(type(self).__name__, ">= 0", lr=rate)
        first, *others = self.param_groups
        first["lr"] = rate
        for group in others:
            if first["initial_lr"]:  # a ratio to 0 does not exist
                group["lr"] = float(rate) * group["initial_lr"] / first["initial_lr"]

    def slots(self, options: Mapping[str, Any]) -> tuple[str, ...]:
        """The names of the arrays that the formula keeps for each parameter."""
        return ()

    def checked(self, group: Mapping[str, Any]) -> dict[str, Any]:
        """A group's options as Python numbers. Raises: ConfigError for one outside its range.

        A number of NumPy would promote float32 arrays to float64.
        """
        return optimizer_options(type(self).__name__, {n: group[n] for n in self.options})

    def zero_grad(self) -> None:
        """Forget every gradient."""
        for p in self.params:
            p.grad = None

    def step(self) -> None:
        """Change every parameter by its gradient.

        Raises: ConfigError for an option outside its range; GradientError for a gradient of another
        shape or device, and for a parameter in read-only memory. Nothing is changed then.
        """
        for theta, g, t, slots, options in kernels.update(self.fast, self.begin_step()):
            new = type(self).formula(theta, g, t, *slots, **options)
            for array, values in zip([theta, *slots], new, strict=False):
                array[...] = values

    def begin_step(self) -> list[kernels.Update]:
        """Count a step of each parameter that has a gradient; returns what the formula takes.

        Raises: as `step`.
        """
        call, found, steps = type(self).__name__, [], []
        for i, p, names, options in self._members():
            if p.grad is not None and p.requires_grad:
                g = gradient_of(call, i, p).data
                check_writable(call, "parameter", i, p.data)
                kept: list[Any] = [self.state.get(f"{i}.{name}") for name in names]
                if any(slot is not None and slot.shape != g.shape for slot in kept[1:]):
                    raise ConfigError(
                        f"{call}: expected parameter {i} of shape {kept[1].shape}, as at earlier "
                        f"steps, got {p.shape}; make a new optimizer"
                    )
                found.append((i, p, g, kept, names, options))
        for i, p, g, kept, names, options in found:
            if kept[0] is None or kept[-1] is None:  # its first step, or the first with momentum
                self.state = self._begin(i, p, names) | self.state
                kept = [self.state[f"{i}.{name}"] for name in names]
            step, *slots = kept
            if slots and is_host(slots[0]) != is_host(g):  # the model was moved to another device
                slots = [to_device(slot, p.device) for slot in slots]
                self.state |= {f"{i}.{n}": slot for n, slot in zip(names[1:], slots, strict=True)}
            step += 1
            p.version += 1  # a graph of the old values must not be used for gradients any more
            steps.append((p.data, g, int(step), slots, options))
        return steps

    def _members(self) -> Iterator[tuple[int, Tensor, tuple[str, ...], dict[str, Any]]]:
        """(number, parameter, names of its state, options of its group) for each parameter."""
        i = 0
        for group in self.param_groups:
            options = self.checked(group)
            names = "step", *self.slots(options)
            for p in group["params"]:
                yield i, p, names, options
                i += 1

    def _begin(self, i: int, p: Tensor, names: tuple[str, ...]) -> dict[str, Array]:
        """The state of parameter i before its first step: zeros."""
        slots = {f"{i}.{name}": p._module.zeros_like(p.data) for name in names[1:]}
        return {f"{i}.step": np.zeros((), np.int64)} | slots

    def _rates(self) -> dict[str, float]:
        """The rate of the first group as "lr", of the others as "lr.1", "lr.2", ..."""
        rates = [float(group["lr"]) for group in self.param_groups]
        return {f"lr.{k}" if k else "lr": rate for k, rate in enumerate(rates)}

    def state_dict(self) -> dict[str, Any]:
        """A copy of the rates and of the state; that of parameter i is "i.step", ..."""
        return self._rates() | {name: array.copy() for name, array in self.state.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a `state_dict`. Raises: CheckpointError listing all that does not fit."""
        begun = {name.partition(".")[0] for name in state}
        new: dict[str, Array] = {}
        for i, p, names, _ in self._members():
            if str(i) in begun:
                new |= self._begin(i, p, names)
        rates = self._rates()
        shapes = dict.fromkeys(rates, ()) | {name: array.shape for name, array in new.items()}
        same_shapes(f"{type(self).__name__}.load_state_dict", shapes, state)
        for name, array in new.items():
            array[...] = tensor(state[name], dtype=array.dtype, device=device_of(array)).data
        self.state = new
        for group, name in zip(self.param_groups, rates, strict=True):
            group["lr"] = float(state[name])

    def __repr__(self) -> str:
        shown = ([f"{n}={v}" for n, v in self.checked(g).items()] for g in self.param_groups)
        counts = (f"{len(g['params'])} parameters" for g in self.param_groups)
        groups = (", ".join([*s, n]) for s, n in zip(shown, counts, strict=True))
        return f"{type(self).__name__}({'; '.join(groups)})"
