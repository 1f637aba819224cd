"""Clipping: makes gradients smaller, in place, where they are too large.

params: a model, one tensor, or tensors (`model.parameters()`, `model.named_parameters()`). Each
function returns the number that it compares with the limit, measured before clipping.
Raises: GradientError for a gradient with NaN or infinity. Then nothing is changed, because no
factor can repair such a gradient. ConfigError for a limit that is not above 0.
"""

from typing import Any

import numpy as np

from .. import norms
from ..checks import check, check_finite, gradients_of
from ..device import read


def clip_grad_value(params: Any, limit: float) -> float:
    """Clip every element of every gradient to [-limit, limit]; returns the largest |g|."""
    call = "clip_grad_value"
    check(call, "> 0", limit=limit)
    found = gradients_of(call, params)
    largest = read([abs(g.data).max() for _, g in found.values()])
    check_finite(call, found, largest)
    for _, g in found.values():
        g._module.clip(g.data, -limit, limit, out=g.data)
        g.version += 1
    return max(largest, default=0.0)


def clip_grad_norm(params: Any, max_norm: float, norm: float | None = None) -> float:
    """Multiply all gradients by min(1, max_norm/‖g‖), ‖g‖ the norm of all together; returns ‖g‖.

    norm: ‖g‖, if the caller has measured it already and found it finite. It is not measured again.
    Source: Pascanu, Mikolov, Bengio 2013, algorithm 1.
    """
    call = "clip_grad_norm"
    check(call, "> 0", max_norm=max_norm)
    found = gradients_of(call, params)
    if norm is None:
        norm = float(norms.global_l2(g.data for _, g in found.values()))
        check_finite(call, found, [norm])
    if norm > max_norm:
        for _, g in found.values():
            array = g.data
            array *= np.float64(max_norm / norm)  # float32 could not hold a factor below 1e-45
            g.version += 1
    return norm


def clip_grad_adaptive(params: Any, ratio: float, eps: float = 1e-3) -> float:
    """Scale each unit's ‖g‖ down to ratio·max(‖w‖, eps); returns the largest ‖g‖/max(‖w‖, eps).

    A unit is the weights w of one output; a parameter with one axis, such as a bias, is one unit.
    Source: Brock et al. 2021, eq. 3.
    """
    call = "clip_grad_adaptive"
    check(call, "> 0", ratio=ratio, eps=eps)
    found, ratios = gradients_of(call, params), []
    for p, g in found.values():
        axes = tuple(range(1, g.ndim)) or None
        size = g._module.maximum(norms.l2(p.data, axes, keepdims=True), eps)
        ratios.append(norms.l2(g.data, axes, keepdims=True) / size)
    largest = read([each.max() for each in ratios])
    check_finite(call, found, largest)
    for (_, g), each in zip(found.values(), ratios, strict=True):
        array = g.data
        array /= g._module.maximum(each / ratio, 1)
        g.version += 1
    return max(largest, default=0.0)
