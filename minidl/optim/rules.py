"""The optimizers' update rules, each a formula: the new parameter θ from θ and its gradient g.

α is lr, λ is weight_decay, and t counts the parameter's steps from 1. A formula takes θ, g, t and
the slots: arrays that the rule keeps from earlier steps, 0 at the start. It returns the new θ and
the new slots. Formulas and defaults are PyTorch's; only SGD has no default for lr.

`fast` names two more versions of the formula, which work in place: in `kernels/cpu/update.py`, in
fewer passes over memory, and in `kernels/gpu/update.cu`, in one launch for all parameters. The
code here runs for all other arrays (float16, mixed types, a GPU without kernels). The tests compare
the fast versions with it.
"""

from collections.abc import Mapping
from typing import Any

from ..device import Array
from ..errors import ConfigError
from .optimizer import Optimizer, option


def sgd(
    theta: Array, g: Array, t: int, v: Array | float = 0.0, *,
    lr: float, momentum: float, nesterov: bool, weight_decay: float,
) -> tuple[Array, ...]:  # fmt: skip
    """The formula of `SGD`."""
    g = g + weight_decay * theta
    v = momentum * v + g
    return theta - lr * (g + momentum * v if nesterov else v), v


class SGD(Optimizer):
    """θ ← θ − α·g; with momentum μ: v ← μ·v + g, θ ← θ − α·v; nesterov: θ ← θ − α·(g + μ·v).

    weight_decay adds λθ to g. Source: Polyak 1964; Sutskever et al. 2013.
    Raises: ConfigError for nesterov=True without momentum, which would be plain descent.
    """

    momentum, nesterov = option("momentum"), option("nesterov")
    formula = staticmethod(sgd)
    fast = "sgd"

    def __init__(
        self, params: Any, lr: float, *, momentum: float = 0, nesterov: bool = False,
        weight_decay: float = 0,
    ) -> None:  # fmt: skip
        super().__init__(
            params, lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay
        )

    def slots(self, options: Mapping[str, Any]) -> tuple[str, ...]:
        return ("velocity",) if options["momentum"] else ()

    def checked(self, group: Mapping[str, Any]) -> dict[str, Any]:
        options = super().checked(group)
        if options["nesterov"] and not options["momentum"]:
            raise ConfigError(
                "SGD: expected a momentum above 0 with nesterov=True, got momentum=0; pass "
                "momentum=0.9, or leave nesterov out"
            )
        return options


def rmsprop(
    theta: Array, g: Array, t: int, s: Array, *,
    lr: float, alpha: float, eps: float, weight_decay: float,
) -> tuple[Array, ...]:  # fmt: skip
    """The formula of `RMSProp`."""
    g = g + weight_decay * theta
    s = alpha * s + (1 - alpha) * g**2
    return theta - lr * g / (s**0.5 + eps), s


class RMSProp(Optimizer):
    """s ← βs + (1 − β)g²; θ ← θ − α·g/(√s + ε); β is `alpha`.

    weight_decay adds λθ to g. Source: Hinton 2012, lecture 6e.
    """

    alpha, eps = option("alpha"), option("eps")
    formula = staticmethod(rmsprop)
    fast = "rmsprop"

    def __init__(
        self, params: Any, lr: float = 1e-2, *, alpha: float = 0.99, eps: float = 1e-8,
        weight_decay: float = 0,
    ) -> None:  # fmt: skip
        super().__init__(params, lr=lr, alpha=alpha, eps=eps, weight_decay=weight_decay)

    def slots(self, options: Mapping[str, Any]) -> tuple[str, ...]:
        return ("square",)


def adam(
    theta: Array, g: Array, t: int, m: Array, v: Array, *,
    lr: float, betas: tuple[float, float], eps: float, weight_decay: float, decoupled: bool,
) -> tuple[Array, ...]:  # fmt: skip
    """The formula of `Adam`, and of `AdamW` where `decoupled` is True."""
    b1, b2 = betas
    if decoupled:
        theta = theta - lr * weight_decay * theta
    else:
        g = g + weight_decay * theta
    m = b1 * m + (1 - b1) * g
    v = b2 * v + (1 - b2) * g**2
    m_hat, v_hat = m / (1 - b1**t), v / (1 - b2**t)  # corrects for averages that began at 0
    return theta - lr * m_hat / (v_hat**0.5 + eps), m, v


class Adam(Optimizer):
    """m ← β₁m + (1 − β₁)g; v ← β₂v + (1 − β₂)g²; θ ← θ − α·m̂/(√v̂ + ε).

    m̂ = m/(1 − β₁ᵗ) and v̂ = v/(1 − β₂ᵗ) correct for the start at 0. weight_decay adds λθ to g.
    Source: Kingma, Ba 2015.
    """

    betas, eps = option("betas"), option("eps")
    formula = staticmethod(adam)
    fast = "adam"
    decoupled = False

    def __init__(
        self, params: Any, lr: float = 1e-3, *, betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8, weight_decay: float = 0,
    ) -> None:  # fmt: skip
        super().__init__(
            params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, decoupled=self.decoupled
        )

    def slots(self, options: Mapping[str, Any]) -> tuple[str, ...]:
        return "mean", "square"


class AdamW(Adam):
    """Adam with decoupled weight decay: first θ ← (1 − αλ)·θ, then Adam's step without λθ in g.

    Source: Loshchilov, Hutter 2019, algorithm 2.
    """

    decoupled = True

    def __init__(
        self, params: Any, lr: float = 1e-3, *, betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8, weight_decay: float = 1e-2,
    ) -> None:  # fmt: skip
        super().__init__(params, lr, betas=betas, eps=eps, weight_decay=weight_decay)
