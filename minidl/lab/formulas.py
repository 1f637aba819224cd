"""Formulas of the predictions: moments of random layers, and the fixed points of wide networks."""

import math
from typing import Any

import numpy as np

from ..health.theory import gaussian_mean


def log_chi_square(largest: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of ln χ²_k for k = 1 ... largest (index 0 is not used).

    E = ψ(k/2) + ln 2 and var = ψ'(k/2), with the digamma function ψ. The recurrence
    ψ(x + 1) = ψ(x) + 1/x gives all of them from ψ(½) and ψ(1). Shapes: (largest + 1,).
    """
    mean, variance = np.full(largest + 1, np.nan), np.full(largest + 1, np.nan)
    mean[1] = -np.euler_gamma - math.log(2)
    variance[1] = math.pi**2 / 2
    if largest > 1:
        mean[2], variance[2] = math.log(2) - np.euler_gamma, math.pi**2 / 6
    for k in range(3, largest + 1):
        mean[k] = mean[k - 2] + 2 / (k - 2)
        variance[k] = variance[k - 2] - 4 / (k - 2) ** 2
    return mean, variance


def relu_log_moments(n: int) -> tuple[float, float]:
    """Mean and variance of ln(2χ²_K/n), K ~ Bin(n, ½): the change of ln ‖x‖² by a He layer.

    K is the number of units that are on. K = 0, a dead layer, is left out: its logarithm is -inf.
    """
    mean, variance = log_chi_square(n)
    k = np.arange(1, n + 1)
    log_p = [math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) for i in k]
    p = np.exp(np.array(log_p) - n * math.log(2))
    p /= p.sum()
    average = float(p @ mean[1:])
    spread = float(p @ (variance[1:] + (mean[1:] - average) ** 2))
    return average + math.log(2 / n), spread


def normal_cdf(x: Any) -> np.ndarray:
    """P(z <= x), z ~ N(0, 1)."""
    return 0.5 * (1 + np.vectorize(math.erf)(np.asarray(x) / math.sqrt(2)))


def tanh_fixed_point(weight_variance: float, bias_variance: float) -> tuple[float, float]:
    """(q*, χ₁) of a wide tanh network: q = σ_w² E tanh²(√q z) + σ_b², χ₁ = σ_w² E tanh'²(√q z).

    Source: Poole et al. 2016, eqs. 3 and 7.
    """
    q = 1.0
    for _ in range(10_000):
        before = q
        q = weight_variance * gaussian_mean(lambda z: np.tanh(z) ** 2, q) + bias_variance
        if abs(q - before) < 1e-13:
            break
    return q, weight_variance * gaussian_mean(lambda z: np.cosh(z) ** -4.0, q)


def critical_variance(bias_variance: float) -> float:
    """The σ_w² at which χ₁ = 1, by bisection."""
    low, high = 1.0, 4.0
    for _ in range(45):
        middle = (low + high) / 2
        if tanh_fixed_point(middle, bias_variance)[1] < 1:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def padding_factor(side: int) -> float:
    """The share of the norm left by a 3×3 He convolution with padding 1, on side×side pixels.

    It is (1 + 2cos(π/(side+1)))/3, the leading eigenvalue of the map that replaces each pixel in a
    row of `side` by the mean of itself and its two neighbours, where those outside count as 0.
    """
    return (1 + 2 * math.cos(math.pi / (side + 1))) / 3


def both_on(batch: int) -> float:
    """P(y_i > 0, y_j > 0): a unit is on for two images of a batch, after BatchNorm.

    BatchNorm gives the values of two images the correlation -1/(batch - 1).
    """
    return (math.pi - math.acos(-1 / (batch - 1))) / (2 * math.pi)
