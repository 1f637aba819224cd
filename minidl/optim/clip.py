"""Clipping: makes gradients smaller, in place, where they are too large.

params: a model, one tensor, or tensors (`model.parameters()`, `model.named_parameters()`). Each
function returns the measure it compares with the limit, taken before clipping. A gradient with NaN
or Inf in it raises GradientError and nothing is changed, since no factor can repair it.
"""

from typing import Any

import numpy as np

from .. import norms
from ..checks import check, check_finite, gradients_of
from ..device import read


def clip_grad_value(params: Any, limit: float) -> float:
    """Every element of a gradient to at most ±limit; returns the largest |g|."""
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
    """All gradients times min(1, max_norm/‖g‖), ‖g‖ the norm of all of them; returns ‖g‖.

    norm: ‖g‖, finite, where the caller has measured it already; it is not measured again then.
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
    """Each unit's ‖g‖ to at most ratio·max(‖w‖, eps); returns the largest ‖g‖/max(‖w‖, eps).

    A unit is the weights of one output, or a whole vector. Source: Brock et al. 2021, eq. 3.
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
