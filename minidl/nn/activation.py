"""Activations as layers: each applies the operation of `ops` that it is named after."""

from dataclasses import dataclass

from .. import ops
from .module import Applied


class ReLU(Applied):
    """y = max(x, 0)."""

    fusable = True
    operation = staticmethod(ops.relu)


@dataclass(eq=False, repr=False)
class LeakyReLU(Applied):
    """y = x where x > 0, else slope·x."""

    operation = staticmethod(ops.leaky_relu)
    slope: float = 0.01


@dataclass(eq=False, repr=False)
class ELU(Applied):
    """y = x where x > 0, else α(eˣ - 1)."""

    operation = staticmethod(ops.elu)
    alpha: float = 1.0


class SELU(Applied):
    """y = λ·elu(x, α); λ and α are chosen to keep mean 0 and variance 1 from layer to layer."""

    operation = staticmethod(ops.selu)


@dataclass(eq=False, repr=False)
class GELU(Applied):
    """y = x·Φ(x), Φ the distribution function of N(0, 1); approximate="tanh" is faster."""

    operation = staticmethod(ops.gelu)
    approximate: str = "none"


class Tanh(Applied):
    """y = tanh x."""

    operation = staticmethod(ops.tanh)


class Sigmoid(Applied):
    """y = 1/(1 + e⁻ˣ)."""

    operation = staticmethod(ops.sigmoid)


@dataclass(eq=False, repr=False)
class Softmax(Applied):
    """y = eˣ / Σ eˣ along an axis. Leave it out before `cross_entropy`, which contains it."""

    operation = staticmethod(ops.softmax)
    axis: int = -1
