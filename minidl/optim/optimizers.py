"""Gradient descent and its descendants: α is lr, g is dL/dθ, λ is weight_decay, t counts steps.

A step changes the parameters in place and leaves their gradients alone; a parameter without a
gradient is skipped. Formulas and defaults are PyTorch's. weight_decay adds λθ to g.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

import numpy as np

from .. import kernels
from ..checks import check, same_shapes
from ..device import Array, array_module, device_of, is_host, to_device
from ..errors import ConfigError, GradientError
from ..tensor import Tensor, tensor

_RANGES = {"lr": ">= 0", "weight_decay": ">= 0", "eps": "> 0"}
_RANGES |= {"momentum": "in [0, 1)", "alpha": "in [0, 1)", "betas": "in [0, 1)"}


@dataclass(eq=False, repr=False)
class Optimizer:
    """Base: a subclass names its `slots`, arrays kept for each parameter, and defines `update`.

    params: model.parameters(). lr: assign to it to change the rate between steps.
    """

    params: Sequence[Tensor]
    lr: float
    _: KW_ONLY
    weight_decay: float = 0
    slots: ClassVar[tuple[str, ...]] = ()
    rule: ClassVar[str] = ""  # the CUDA kernel that does the same in one launch
    decoupled: ClassVar[bool] = False  # weight decay shrinks θ itself and leaves g alone

    def __post_init__(self) -> None:
        self.params = list(self.params)
        self.state: dict[str, Array] = {}  # of parameter 0: "0.step", "0.velocity", ...
        fit = [isinstance(p, Tensor) and p.requires_grad and p.is_leaf for p in self.params]
        if not fit or not all(fit) or len(set(self.params)) < len(fit):
            raise ConfigError(
                f"{type(self).__name__}: expected params to be tensors with requires_grad=True, at "
                f"least one, none twice (model.parameters()); got {len(fit)}, {sum(fit)} of them so"
            )
        for name in _RANGES.keys() & vars(self):
            for value in np.ravel(getattr(self, name)).tolist():
                check(type(self).__name__, _RANGES[name], **{name: value})

    def zero_grad(self) -> None:
        """Forget every gradient."""
        for p in self.params:
            p.grad = None

    def step(self) -> None:
        """Change every parameter by its gradient."""
        check(type(self).__name__, ">= 0", lr=self.lr)
        lr = float(self.lr)  # a NumPy float64 would promote float32 arrays
        names = self.slots
        together: list[tuple[Array, ...]] = []  # on a GPU: what one launch updates
        numbers: list[tuple[float, ...]] = []
        for i, p in enumerate(self.params):
            if p.grad is None:
                continue
            theta, g = p.data, p.grad.data
            if g.shape != theta.shape or is_host(g) != is_host(theta):
                raise GradientError(
                    f"{type(self).__name__}: expected a gradient {p.shape} on {p.device} for "
                    f"parameter {i}, got {g.shape} on {p.grad.device}"
                )
            if f"{i}.step" not in self.state:
                self.state |= self._begin(i)
            for name in names:  # the model may have moved since
                self.state[f"{i}.{name}"] = to_device(self.state[f"{i}.{name}"], p.device)
            t, slots = self.state[f"{i}.step"], [self.state[f"{i}.{name}"] for name in names]
            t += 1
            if self.rule and not is_host(theta) and kernels.in_one_launch(theta, g, *slots):
                together.append((theta, g, *(slots or (theta,))))
                numbers.append(self.numbers(lr, int(t)))
                continue
            if self.decoupled:
                theta *= 1 - lr * self.weight_decay
            elif self.weight_decay:
                g = g + self.weight_decay * theta
            self.update(theta, g, lr, int(t), p._module.empty_like(theta), *slots)
        if together:
            kernels.update(self.rule, together, numbers)

    def update(self, theta: Array, g: Array, lr: float, t: int, free: Array, *slots: Array) -> None:
        """Change theta and its slots in place; g must stay, free is there to be overwritten."""
        raise NotImplementedError

    def numbers(self, lr: float, t: int) -> tuple[float, ...]:
        """What the CUDA kernel named by `rule` takes for a parameter."""
        raise NotImplementedError

    def _begin(self, i: int) -> dict[str, Array]:
        p = self.params[i]
        slots = {f"{i}.{name}": p._module.zeros_like(p.data) for name in self.slots}
        return {f"{i}.step": np.zeros((), np.int64)} | slots

    def state_dict(self) -> dict[str, Any]:
        """A copy of lr, and of what is kept for parameter i under "i.step", "i.velocity", ..."""
        return {"lr": float(self.lr)} | {name: array.copy() for name, array in self.state.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a `state_dict`. Raises: CheckpointError listing all that does not fit."""
        begun = {name.partition(".")[0] for name in state}
        states = (self._begin(i) for i in range(len(self.params)) if str(i) in begun)
        new: dict[str, Array] = {name: array for each in states for name, array in each.items()}
        shapes = {"lr": ()} | {name: array.shape for name, array in new.items()}
        same_shapes(f"{type(self).__name__}.load_state_dict", shapes, state)
        for name, array in new.items():
            array[...] = tensor(state[name], dtype=array.dtype, device=device_of(array)).data
        self.state, self.lr = new, float(state["lr"])


@dataclass(eq=False, repr=False)
class SGD(Optimizer):
    """θ ← θ − α·g; with momentum μ: v ← μ·v + g, θ ← θ − α·v; nesterov: θ ← θ − α·(g + μ·v).

    Source: Polyak 1964; Sutskever et al. 2013.
    """

    _: KW_ONLY
    momentum: float = 0
    nesterov: bool = False

    rule = "sgd"

    @property
    def slots(self) -> tuple[str, ...]:  # type: ignore[override]
        return ("velocity",) if self.momentum else ()

    def update(self, theta: Array, g: Array, lr: float, t: int, free: Array, *slots: Array) -> None:
        xp = array_module(theta)
        for v in slots:
            v *= self.momentum
            v += g
            g = xp.add(g, xp.multiply(v, self.momentum, out=free), out=free) if self.nesterov else v
        kernels.add_multiple(theta, -lr, g)

    def numbers(self, lr: float, t: int) -> tuple[float, ...]:
        return lr, self.momentum, self.weight_decay, float(self.nesterov)


@dataclass(eq=False, repr=False)
class RMSProp(Optimizer):
    """s ← βs + (1 − β)g²; θ ← θ − α·g/(√s + ε); β is `alpha`. Source: Hinton 2012, lecture 6e."""

    lr: float = 1e-2
    _: KW_ONLY
    alpha: float = 0.99
    eps: float = 1e-8
    slots = ("square",)
    rule = "rmsprop"

    def update(self, theta: Array, g: Array, lr: float, t: int, free: Array, *slots: Array) -> None:
        xp, (s,) = array_module(theta), slots
        _average(s, self.alpha, xp.square(g, out=free))
        xp.sqrt(s, out=free)
        free += self.eps
        kernels.add_multiple(theta, -lr, xp.divide(g, free, out=free))

    def numbers(self, lr: float, t: int) -> tuple[float, ...]:
        return lr, self.alpha, self.eps, self.weight_decay


@dataclass(eq=False, repr=False)
class Adam(Optimizer):
    """m ← β₁m + (1 − β₁)g; v ← β₂v + (1 − β₂)g²; θ ← θ − α·m̂/(√v̂ + ε).

    m̂ = m/(1 − β₁ᵗ) and v̂ = v/(1 − β₂ᵗ) make up for the start at 0. Source: Kingma, Ba 2015.
    """

    lr: float = 1e-3
    _: KW_ONLY
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    slots = ("mean", "square")
    rule = "adam"

    def update(self, theta: Array, g: Array, lr: float, t: int, free: Array, *slots: Array) -> None:
        xp, (m, v), (b1, b2) = array_module(theta), slots, self.betas
        _average(m, b1, g)
        _average(v, b2, xp.square(g, out=free))
        xp.sqrt(v, out=free)
        free /= math.sqrt(1 - b2**t)
        free += self.eps
        kernels.add_multiple(theta, -lr / (1 - b1**t), xp.divide(m, free, out=free))

    def numbers(self, lr: float, t: int) -> tuple[float, ...]:
        (b1, b2), decay = self.betas, self.weight_decay
        shrink, added = (1 - lr * decay, 0.0) if self.decoupled else (1.0, decay)
        return lr / (1 - b1**t), b1, b2, math.sqrt(1 - b2**t), self.eps, added, shrink


@dataclass(eq=False, repr=False, kw_only=True)
class AdamW(Adam):
    """Adam whose decay is apart from the gradient: first θ ← (1 − αλ)·θ.

    Source: Loshchilov, Hutter 2019, algorithm 2.
    """

    weight_decay: float = 1e-2
    decoupled = True


def _average(mean: Array, beta: float, x: Array) -> None:
    """mean ← β·mean + (1 − β)·x."""
    mean *= beta
    kernels.add_multiple(mean, 1 - beta, x)
