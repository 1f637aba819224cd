"""Clipping: makes gradients smaller, in place, where they are too large.

Each function returns what it measured before it clipped. Where a gradient holds NaN or Inf it
raises GradientError and changes nothing, since no factor can repair that.
"""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from ..checks import check
from ..device import Array, array_module, read
from ..errors import GradientError
from ..tensor import Tensor


def clip_grad_value(params: Iterable[Tensor], limit: float) -> float:
    """Every element to at most ±limit; returns the largest |g|."""
    check("clip_grad_value", "> 0", limit=limit)
    pairs = _gradients("clip_grad_value", params)
    largest = max(read([abs(g).max() for _, g in pairs]), default=0.0)
    for _, g in pairs:
        array_module(g).clip(g, -limit, limit, out=g)
    return largest


def clip_grad_norm(params: Iterable[Tensor], max_norm: float, norm: float | None = None) -> float:
    """All gradients by min(1, max_norm/‖g‖), ‖g‖ over all of them; returns ‖g‖.

    norm: ‖g‖, finite, where the caller has measured it: nothing is read from a GPU then.
    Source: Pascanu, Mikolov, Bengio 2013, algorithm 1.
    """
    check("clip_grad_norm", "> 0", max_norm=max_norm)
    if norm is None:
        pairs = _gradients("clip_grad_norm", params)
        norm = math.hypot(*read([_norm(g, None).reshape(()) for _, g in pairs]))
    else:
        pairs = [(p.data, p.grad.data) for p in params if p.grad is not None]
    if norm > max_norm:
        for _, g in pairs:
            g *= np.float64(max_norm / norm)  # float32 could not hold a factor below 1e-45
    return norm


def clip_grad_adaptive(params: Iterable[Tensor], ratio: float, eps: float = 1e-3) -> float:
    """Each unit's ‖g‖ to at most ratio·max(‖w‖, eps); returns the largest ‖g‖/max(‖w‖, eps).

    A unit is one output's weights, or a whole vector. Source: Brock et al. 2021, eq. 3.
    """
    check("clip_grad_adaptive", "> 0", ratio=ratio, eps=eps)
    found = []
    for w, g in _gradients("clip_grad_adaptive", params):
        xp, axes = array_module(g), tuple(range(1, g.ndim)) or None
        ratios = _norm(g, axes) / xp.maximum(_norm(w, axes), eps)
        found.append(ratios.max())
        g /= xp.maximum(ratios / ratio, 1)
    return max(read(found), default=0.0)


def _norm(x: Array, axes: Any) -> Array:
    """√Σ x² along axes, in float64 and of x over its largest, so that no square overflows."""
    xp = array_module(x)
    largest = xp.maximum(abs(x).max(axes, keepdims=True).astype(np.float64), 1e-300)
    return largest * xp.sqrt(xp.square(x / largest).sum(axes, keepdims=True))


def _gradients(call: str, params: Iterable[Tensor]) -> list[tuple[Array, Array]]:
    """(parameter, gradient) where there is a gradient; all finite."""
    found = [
        (i, p.data, p.grad.data) for i, p in enumerate(params) if p.grad is not None and p.size
    ]
    finite = read([array_module(g).isfinite(g).all() for _, _, g in found])
    bad = {i: g.shape for (i, _, g), good in zip(found, finite, strict=True) if not good}
    if bad:
        raise GradientError(
            f"{call}: expected finite gradients, got NaN or Inf in (parameter: shape) {bad}; "
            "nothing was clipped; use a smaller learning rate or smaller initial weights"
        )
    return [(w, g) for _, w, g in found]
