"""The settings of the page: each control with its range. A request may set nothing else."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .. import nn, optim
from ..errors import ConfigError
from ..nn import Module

ACTIVATIONS: dict[str, type[Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}
OPTIMIZERS: dict[str, Any] = {
    "sgd": optim.SGD,
    "momentum": lambda parameters, rate: optim.SGD(parameters, rate, momentum=0.9),
    "rmsprop": optim.RMSProp,
    "adam": optim.Adam,
}


@dataclass(frozen=True)
class Control:
    """One slider, switch or number.

    kind: "log" (a number whose logarithm the slider moves), "int", "seed" (an int to be typed), or
    "choice". low, high: the bounds of a number. choices: the values of a choice; None stands for
    "none".
    """

    name: str
    kind: str
    default: Any
    low: float = 0.0
    high: float = 0.0
    choices: tuple[Any, ...] = ()

    def check(self, value: Any) -> Any:
        """The value, if it is one of this control. Raises: ConfigError."""
        if self.kind == "choice":
            if value in self.choices and not isinstance(value, bool):
                return value
            expected = "one of " + ", ".join("none" if c is None else str(c) for c in self.choices)
        else:
            whole = self.kind != "log"
            numeric = isinstance(value, int if whole else int | float)
            if numeric and not isinstance(value, bool) and self.low <= value <= self.high:
                return value if whole else float(value)
            expected = f"{'a whole' if whole else 'a'} number from {self.low:g} to {self.high:g}"
        raise ConfigError(f"{self.name}: expected {expected}, got {_short(value)}")


CONTROLS = (
    Control("scale", "log", 1.0, 0.1, 10.0),
    Control("depth", "int", 8, 2, 32),
    Control("width", "int", 16, 2, 64),
    Control("activation", "choice", "relu", choices=tuple(ACTIVATIONS)),
    Control("body", "choice", "plain", choices=("plain", "batch_norm", "residual", "weight_norm")),
    Control("rate", "log", 0.03, 1e-4, 10.0),
    Control("optimizer", "choice", "sgd", choices=tuple(OPTIMIZERS)),
    Control("clip", "choice", None, choices=(None, 10.0, 1.0, 0.1)),
    Control("inputs", "log", 1.0, 0.01, 255.0),
    Control("seed", "seed", 0, 0, 999_999),
)
# The controls of a user's model: its layers cannot be changed.
OF_ANY_MODEL = ("scale", "rate", "optimizer", "clip", "inputs", "seed")

Settings = dict[str, Any]  # a value for each control, by its name


def defaults(controls: tuple[Control, ...] = CONTROLS) -> Settings:
    """Every control at its default."""
    return {control.name: control.default for control in controls}


def checked(given: Any, controls: tuple[Control, ...] = CONTROLS) -> Settings:
    """The settings that a request gives, the others at their defaults. Raises: ConfigError."""
    if not isinstance(given, Mapping):
        raise ConfigError(f"settings: expected an object of settings, got {_short(given)}")
    known = {control.name: control for control in controls}
    for name in given:
        if name not in known:
            raise ConfigError(f"settings: there is no {_short(name)}; known: {', '.join(known)}")
    return defaults(controls) | {name: known[name].check(value) for name, value in given.items()}


def _short(value: Any) -> str:
    """A value in a message, not longer than a line."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
