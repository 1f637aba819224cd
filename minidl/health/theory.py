"""Stage 3: what theory predicts for a layer from its weights and the size of its input.

Each output z of a weighted layer is a sum of fan_in products w·x, plus a bias b. If the weights are
independent of the inputs, the mean square of the output is

    E z² = fan_in · inside · E w² · E x² + E b²

`inside` is the share of a convolution's window that does not lie in the zero padding. An activation
φ then changes the mean square by the factor E φ(z)² / E z².
Source: He et al. 2015, section 2.2; Poole et al. 2016.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from math import hypot, inf, pi, sqrt

import numpy as np

from .. import kernels, nn
from ..nn import Module
from ..norms import rms
from .measure import Measurements
from .probe import ACTIVATIONS, LayerCall

# √(π/(π - 1)): the gradient's growth through one BatchNorm + ReLU layer (Yang et al. 2019).
BATCH_NORM_GROWTH = sqrt(pi / (pi - 1))


def fan_in(layer: Module) -> float:
    """How many products one output of a Dense or convolution sums, away from the border."""
    shape = layer.weight.shape  # type: ignore[attr-defined]
    if isinstance(layer, nn.ConvTranspose2d):
        return shape[0] // layer.groups * shape[2] * shape[3] / _stride_area(layer)
    return float(np.prod(shape[1:]))


def fan_out(layer: Module) -> float:
    """How many outputs one input of a Dense or convolution enters, away from the border."""
    shape = layer.weight.shape  # type: ignore[attr-defined]
    if not isinstance(layer, nn.Conv2d):
        return float(shape[0])
    taps = shape[2] * shape[3]
    outputs = shape[1] if layer.transposed else shape[0] // layer.groups
    return outputs * taps / (1 if layer.transposed else _stride_area(layer))


def _stride_area(layer: nn.Conv2d) -> int:
    """How many pixels of the larger image there are for one of the smaller image."""
    rows, across = layer.stride if isinstance(layer.stride, tuple) else (layer.stride,) * 2
    return rows * across


def inside_share(layer: Module, image: tuple[int, ...]) -> float:
    """The share of a convolution's window that meets pixels rather than zero padding.

    image: (height, width) of the layer's input. The share is a mean over all places of the window.
    It is 1 for other layers.
    """
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


def gaussian_mean(f: Callable[[np.ndarray], np.ndarray], variance: float = 1.0) -> float:
    """E f(z), z ~ N(0, variance), by Gauss-Legendre on both sides of 0, where f may have a kink.

    On each standard deviation up to 10 there are 20 nodes, none of them at 0.
    """
    z, weights = _half_line()
    z = sqrt(variance) * z
    return float(weights @ (f(z) + f(-z)))


@lru_cache
def _half_line() -> tuple[np.ndarray, np.ndarray]:
    """Nodes z from 0 to 10 and their weights, the density of N(0, 1) included."""
    nodes, weights = np.polynomial.legendre.leggauss(20)
    z = (np.arange(10)[:, None] + (nodes + 1) / 2).ravel()
    return z, np.tile(weights / 2, 10) * np.exp(-z * z / 2) / sqrt(2 * pi)


def activation_factor(layer: Module, mean_square: float) -> float:
    """E φ(z)² / E z² of an activation φ, for z ~ N(0, mean_square).

    1 where mean_square is 0 or not finite.
    """
    if not 0 < mean_square < inf:
        return 1.0
    if isinstance(layer, nn.ReLU):
        return 0.5
    return gaussian_mean(lambda z: layer.forward(z).numpy() ** 2, mean_square) / mean_square


def predicted_rms(call: LayerCall) -> float | None:
    """The root mean square of a layer's output, by the formula above.

    None for layers that are neither weighted nor activations.
    """
    if call.weighted:
        w, b = call.layer.weight, call.layer.bias  # type: ignore[attr-defined]
        inside = inside_share(call.layer, call.in_shape[2:])
        products = sqrt(fan_in(call.layer) * inside) * rms(w.data) * call.in_rms
        return hypot(products, rms(b.data) if b is not None else 0.0)
    if isinstance(call.layer, ACTIVATIONS):
        return sqrt(activation_factor(call.layer, call.in_rms * call.in_rms)) * call.in_rms
    return None


def initializer(m: Measurements) -> str:
    """The name of the initializer that keeps the signal's size for the network's activations."""
    kinds = [type(call.layer) for call in m.calls if isinstance(call.layer, ACTIVATIONS)]
    if nn.SELU in kinds:
        return "lecun_normal"
    return "xavier_normal" if nn.Tanh in kinds or nn.Sigmoid in kinds else "he_normal"


def well_initialised(m: Measurements) -> bool:
    """Whether each layer's weights have the size that `initializer` would give them.

    A size up to 1.5 times larger or smaller still counts. Weights that are all 0 are left out.
    """
    gain, both = {"he_normal": (2, 0), "lecun_normal": (1, 0)}.get(initializer(m), (2, 1))
    for call in m.weighted:
        size = rms(call.layer.weight.data)  # type: ignore[attr-defined]
        wanted = sqrt(gain / (fan_in(call.layer) + both * fan_out(call.layer)))
        if size and not 1 / 1.5 <= size / wanted <= 1.5:
            return False
    return True


def seed_spread(widths: Sequence[float]) -> tuple[float, float]:
    """(β, √(5β)) for β = Σ 1/n, where n is a layer's fan-in: for Dense layers the width before it.

    √(5β) is the standard deviation, over seeds, of ln ‖x‖² at the last layer.
    Source: Hanin, Rolnick 2018: var(ln ‖x_L‖²) ≈ 5β for a He-initialised ReLU network.
    """
    beta = sum(1 / n for n in widths)
    return beta, sqrt(5 * beta)
