"""Random networks: drawn, followed layer by layer, and their means compared with theory."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import minidl as md

from .registry import Check

# A check that is 5 standard errors wide is wrong by chance once in 1.7 million times for a normal
# estimate, and once in 12,000 times for a t with 19 degrees of freedom, the fewest used here.
SIGMAS = 5.0
Layer = Callable[[Any], md.Tensor]


def stream(seed: int, number: int) -> np.random.Generator:
    """The random numbers of one experiment; the others' are independent of them."""
    return np.random.default_rng([seed, number])


def gaussian(rng: np.random.Generator, *shape: int, variance: float = 1.0) -> np.ndarray:
    """Weights N(0, variance) in float64."""
    return math.sqrt(variance) * rng.standard_normal(shape)


def relu_layer(rng: np.random.Generator, nets: int, n: int, variance: float) -> Layer:
    """x -> relu(W·x) with W ~ N(0, variance), n×n, in each of `nets` networks side by side."""
    w = gaussian(rng, nets, n, n, variance=variance)
    return lambda x: md.ops.relu(w @ x)


def batch_norm_layer(rng: np.random.Generator, n: int) -> Layer:
    """h -> relu(BatchNorm(h))·W for a batch (B, n), W ~ N(0, 1/n)."""
    w = gaussian(rng, n, n, variance=1 / n)
    return lambda h: md.ops.relu(md.ops.standardize(h, axis=0, eps=0.0)) @ w


def mean_field_growth(
    rng: np.random.Generator,
    activation: Layer,
    *,
    weights: float,
    biases: float,
    q: float,
    n: int,
    nets: int,
    depth: int,
) -> np.ndarray:
    """ln of the gradient norm's growth per layer, for each of `nets` networks; shape (nets,).

    x_l = W·φ(x_{l-1}) + b with the activation φ, W ~ N(0, weights/n) and b ~ N(0, biases). The
    first x has E x² = q, the fixed point, so that all layers are alike.
    """

    def layer() -> Layer:
        w = gaussian(rng, nets, n, n, variance=weights / n)
        b = gaussian(rng, nets, n, 1, variance=biases)
        return lambda x: w @ activation(x) + b

    layers = [layer() for _ in range(depth)]
    x = gaussian(rng, nets, n, 1, variance=q)
    _, gradients = through(layers, x, gaussian(rng, nets, n, 1))
    return (log_norm(gradients[0]) - log_norm(gradients[-1])) / depth


def through(layers: Sequence[Layer], x: Any, u: Any) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """(signals, gradients): x and the output of each layer, and the gradient of ⟨u, last output⟩
    by each of them.
    """
    signals: list[Any] = [x]
    pullbacks = []
    for layer in layers:
        y, pullback = md.vjp(layer, signals[-1])
        signals.append(y)
        pullbacks.append(pullback)
    gradients: list[Any] = [u]
    for pullback in reversed(pullbacks):
        gradients.append(pullback(gradients[-1]))
    return [np.asarray(s) for s in signals], [np.asarray(g) for g in reversed(gradients)]


def log_norm(x: np.ndarray) -> np.ndarray:
    """ln ‖x‖ of each network in a batch of them, (networks, ...)."""
    return np.log(np.sqrt((x * x).reshape(len(x), -1).sum(1)))


def standard_error(samples: np.ndarray) -> float:
    """The standard error of the mean of independent samples."""
    return float(np.std(samples, ddof=1) / math.sqrt(len(samples)))


def mean_check(what: str, predicted: float, samples: np.ndarray, allowance: float = 0.0) -> Check:
    """The check that the mean of independent samples is the predicted number.

    It may be off by 5 of its standard errors plus an allowance.
    """
    tolerance = SIGMAS * standard_error(samples) + allowance
    return Check(what, predicted, float(np.mean(samples)), tolerance)


def small_digits() -> tuple[np.ndarray, np.ndarray]:
    """The 1,797 digits at their original 8×8 pixels, (N, 64), and their labels, (N,)."""
    data = md.data.digits()
    return data.images[:, 0, 2:26:3, 2:26:3].reshape(len(data), 64), data.labels
