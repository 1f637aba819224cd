"""What theory predicts for a layer: how much it should enlarge signal and gradient.

A weighted layer sums fan_in products. If weights are independent of their inputs, the second
moment of its output is E z² = fan_in·E w²·E x²·inside + E b², where `inside` is the share of the
window that does not lie in the zero padding. An activation φ then multiplies by E φ(z)²/E z², and
the gradient by E φ'(z)² on its way back (He et al. 2015, sections 2.2; Poole et al. 2016).
"""

from collections.abc import Callable, Sequence
from math import exp, hypot, pi, sqrt

import numpy as np

from .. import kernels, nn
from ..nn import Module
from .probe import ACTIVATIONS, Passage, scale

# √(π/(π - 1)): the gradient's growth through one BatchNorm + ReLU layer (Yang et al. 2019).
BATCH_NORM_GROWTH = sqrt(pi / (pi - 1))


def fan_in(layer: Module) -> float:
    """How many products one output of a Dense or convolution sums, away from the border."""
    shape = layer.weight.shape  # type: ignore[attr-defined]
    if isinstance(layer, nn.ConvTranspose2d):
        return shape[0] // layer.groups * shape[2] * shape[3] / _places(layer)
    return float(np.prod(shape[1:]))


def fan_out(layer: Module) -> float:
    """How many outputs one input of a Dense or convolution enters, away from the border."""
    shape = layer.weight.shape  # type: ignore[attr-defined]
    if not isinstance(layer, nn.Conv2d):
        return float(shape[0])
    taps = shape[2] * shape[3]
    outputs = shape[1] if layer.transposed else shape[0] // layer.groups
    return outputs * taps / (1 if layer.transposed else _places(layer))


def _places(layer: nn.Conv2d) -> int:
    """How many pixels of the larger image there are for one of the smaller."""
    rows, across = layer.stride if isinstance(layer.stride, tuple) else (layer.stride,) * 2
    return rows * across


def inside_share(layer: Module, image: tuple[int, ...]) -> float:
    """The share of a convolution's window that meets pixels rather than zero padding."""
    if not isinstance(layer, nn.Conv2d) or layer.transposed:
        return 1.0
    w = kernels.window(
        "doctor", image, layer.kernel_size, layer.stride, layer.padding, layer.dilation
    )
    share = 1.0
    for axis in range(2):
        taps = np.arange(w.size[axis]) * w.dilation[axis] - w.pads[2 * axis]
        places = np.arange(w.out[axis])[:, None] * w.stride[axis] + taps
        share *= float(((places >= 0) & (places < w.image[axis])).mean())
    return share


def gaussian_mean(f: Callable[[np.ndarray], np.ndarray], variance: float) -> float:
    """E f(z) for z ~ N(0, variance), on a fine grid that has no node at 0, where φ may bend."""
    z = (np.arange(-4000, 4000) + 0.5) * 2e-3
    weight = np.exp(-0.5 * z * z)
    return float((f(z * sqrt(variance)) * weight).sum() / weight.sum())


def activation_factors(layer: Module | None, second_moment: float) -> tuple[float, float]:
    """(E φ(z)²/E z², E φ'(z)²) for z ~ N(0, second_moment); (1, 1) without an activation."""
    if layer is None or second_moment <= 0 or not np.isfinite(second_moment):
        return 1.0, 1.0
    if isinstance(layer, nn.ReLU):
        return 0.5, 0.5

    def phi(z: np.ndarray) -> np.ndarray:
        return layer(z).numpy()

    step = 1e-4 * sqrt(second_moment)
    forward = gaussian_mean(lambda z: phi(z) ** 2, second_moment) / second_moment
    backward = gaussian_mean(
        lambda z: ((phi(z + step) - phi(z - step)) / (2 * step)) ** 2, second_moment
    )
    return forward, backward


def predicted_scale(p: Passage) -> float | None:
    """The root mean square that a layer's output should have by its weights and its input."""
    if p.weighted:
        w, b = p.layer.weight, p.layer.bias  # type: ignore[attr-defined]
        inside = inside_share(p.layer, p.in_shape[2:])
        summed = sqrt(fan_in(p.layer) * inside) * scale(w.data) * p.in_scale
        return hypot(summed, scale(b.data) if b is not None else 0.0)
    if isinstance(p.layer, ACTIVATIONS):
        return sqrt(activation_factors(p.layer, p.in_scale * p.in_scale)[0]) * p.in_scale
    return None


def seed_spread(widths: Sequence[float]) -> tuple[float, float]:
    """(β, √(5β)): β = Σ 1/n over the layers' fan-ins, and how far seeds differ in ln ‖x‖².

    Source: Hanin, Rolnick 2018: var ln(‖x_L‖²) ≈ 5β for a He-initialised ReLU network.
    """
    beta = sum(1 / n for n in widths)
    return beta, sqrt(5 * beta)


def chance(classes: int) -> float:
    """The loss of a guess: ln K nats."""
    return float(np.log(classes))


def finite_width(n: float) -> float:
    """The factor e^(-1.25/n) that a finite width n takes from the median gain of a layer."""
    return exp(-1.25 / n)
