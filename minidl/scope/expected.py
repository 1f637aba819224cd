"""The sizes of signal and gradient by theory, layer by layer, from the weights.

Forward: `health.theory.predicted_rms` says how large a layer's output is for an input of a given
size. Here that size is not measured: it is the expected size of the output of the layer before.

Backward: an input pixel of a weighted layer enters m outputs through weights w, so the mean square
of the gradient by it is m·E w² times that of the gradient by the output. An activation φ multiplies
it by E φ'(z)². Source: He et al. 2015, section 2.2.
"""

from dataclasses import replace
from math import isfinite, prod, sqrt

import numpy as np

from ..health.probe import ACTIVATIONS, HOMOGENEOUS, NORMS, LayerCall
from ..health.theory import BATCH_NORM_GROWTH, fan_out, gaussian_mean, inside_share, predicted_rms
from ..nn import BatchNorm2d, Conv2d, Dropout, Flatten, ReLU
from ..norms import rms
from ..ops import sum
from ..tensor import tensor

KEEPS = (Flatten, Dropout)  # they do not change the size of the gradient


def expected_signals(calls: list[LayerCall]) -> list[float]:
    """The expected size of each call's output."""
    sizes: dict[int, float] = {}
    for call in calls:
        before = sizes.get(id(call.source), call.in_rms)
        size = predicted_rms(replace(call, in_rms=before))
        if size is None and isinstance(call.layer, NORMS):
            size = sqrt(rms(call.layer.weight.data) ** 2 + rms(call.layer.bias.data) ** 2)
        if size is None and isinstance(call.layer, HOMOGENEOUS) and call.in_rms:
            size = before * call.out_rms / call.in_rms  # pooling: theory does not know its factor
        sizes[id(call)] = call.out_rms if size is None else size
    return [sizes[id(call)] for call in calls]


def expected_gradients(calls: list[LayerCall], signals: list[float]) -> list[float]:
    """The expected size of the gradient by each call's output, from the last layer backwards.

    It starts from the measured gradient of the last layer. The measured size is also taken where an
    output goes to several layers or to none, and before a layer whose factor is not known.
    """
    size_of = {id(call): size for call, size in zip(calls, signals, strict=True)}
    followers: dict[int, list[LayerCall]] = {}
    for call in calls:
        if call.source is not None:
            followers.setdefault(id(call.source), []).append(call)
    found: dict[int, float] = {}
    for call in reversed(calls):
        after = followers.get(id(call), [])
        size = call.gradient_rms
        if len(after) == 1:
            factor = _factor(after[0], size_of[id(call)])
            if factor is not None:
                size = factor * found[id(after[0])]
        found[id(call)] = size
    return [found[id(call)] for call in calls]


def _factor(call: LayerCall, before: float) -> float | None:
    """Size of the gradient by the call's input over that by its output; None if not known.

    before: the size of the call's input.
    """
    layer = call.layer
    if call.weighted:
        outputs = fan_out(layer)
        if isinstance(layer, Conv2d) and not layer.transposed:
            taps, places = prod(layer.kernel_size), prod(call.out_shape[2:])
            inside = inside_share(layer, call.in_shape[2:])
            outputs = layer.out_channels / layer.groups * taps * places * inside
            outputs /= prod(call.in_shape[2:])
        return sqrt(outputs) * rms(layer.weight.data)  # type: ignore[attr-defined]
    if isinstance(layer, ReLU):
        return sqrt(0.5)
    if isinstance(layer, ACTIVATIONS):
        if not (0 < before < float("inf")):
            return None

        def slope(z: np.ndarray) -> np.ndarray:
            x = tensor(z, dtype="float64", requires_grad=True)
            sum(layer.forward(x)).backward()
            assert x.grad is not None
            return x.grad.numpy() ** 2

        return sqrt(gaussian_mean(slope, before * before))
    if isinstance(layer, BatchNorm2d) and before > 0 and isfinite(before):
        return rms(layer.weight.data) / before * _off_centre(call)
    return 1.0 if isinstance(layer, KEEPS) else None


def _off_centre(call: LayerCall) -> float:
    """The root mean square of a BatchNorm's input over its standard deviation.

    If the inputs of the layer before it come from a ReLU, their mean is above 0. So the layer's
    outputs have a mean as well, which BatchNorm subtracts.
    """
    before = call.source.source if call.source else None
    return BATCH_NORM_GROWTH if before and isinstance(before.layer, ReLU) else 1.0
