"""Activations as layers: each applies the operation of `ops.activation` that it is named after."""

from .. import ops
from ..tensor import ArrayLike, Tensor
from .module import Module


class ReLU(Module):
    """y = max(x, 0)."""

    def forward(self, x: ArrayLike) -> Tensor:
        return ops.relu(x)


class LeakyReLU(Module):
    """y = x where x > 0, else slope·x."""

    def __init__(self, slope: float = 0.01) -> None:
        self.slope = slope

    def forward(self, x: ArrayLike) -> Tensor:
        return ops.leaky_relu(x, self.slope)


class ELU(Module):
    """y = x where x > 0, else α(eˣ - 1)."""

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha

    def forward(self, x: ArrayLike) -> Tensor:
        return ops.elu(x, self.alpha)


class SELU(Module):
    """y = λ·elu(x, α), whose λ and α keep mean 0 and variance 1 from layer to layer."""

    def forward(self, x: ArrayLike) -> Tensor:
        return ops.selu(x)


class GELU(Module):
    """y = x·Φ(x), Φ the normal distribution; approximate="tanh" is faster and within 5e-4."""

    def __init__(self, approximate: str = "none") -> None:
        self.approximate = approximate

    def forward(self, x: ArrayLike) -> Tensor:
        return ops.gelu(x, self.approximate)


class Tanh(Module):
    """y = tanh x."""

    def forward(self, x: ArrayLike) -> Tensor:
        return ops.tanh(x)


class Sigmoid(Module):
    """y = 1/(1 + e⁻ˣ)."""

    def forward(self, x: ArrayLike) -> Tensor:
        return ops.sigmoid(x)


class Softmax(Module):
    """y = eˣ / Σ eˣ along an axis. Not before `cross_entropy`, which holds the softmax itself."""

    def __init__(self, axis: int = -1) -> None:
        self.axis = axis

    def forward(self, x: ArrayLike) -> Tensor:
        return ops.softmax(x, self.axis)
