"""A dense layer: a matrix product, a bias for each column, and perhaps relu."""

from __future__ import annotations

from ..device import Array, array_module
from . import choose, masks


def linear(x: Array, w: Array, b: Array | None, rectify: bool) -> Array:
    """x @ wᵀ + b for x (rows, in), w (out, in), b (out,); its relu where `rectify` is True."""
    y = choose.linear(x, w, b, rectify)
    if y is not None:
        return y
    y = choose.product(x, w.T)
    if b is not None:
        if rectify and (found := choose.bias_relu(y, b)) is not None:
            return found
        y = array_module(y).add(y, b, out=y if b.dtype == y.dtype else None)
    return masks.relu(y) if rectify else y
