"""Operations that normalise along axes: the sum or the scale of the output is fixed.

The shape stays. All raise ShapeError for an axis that x does not have.
"""

from typing import Any

from .. import kernels
from ..checks import axes_of, axis_of, check, floating
from ..device import Array
from ..errors import ShapeError
from ..tensor import ArrayLike, Tensor, record
from .elementwise import exp, sqrt, through_relu
from .reduce import Axis, mean, sum, var


def softmax(x: ArrayLike, axis: int = -1) -> Tensor:
    """y = eˣ / Σ eˣ along an axis; dL/dx = y·(g - Σ g·y).

    Numerics: the largest x is subtracted first, so that the exponential cannot overflow.
    """
    x, _ = floating(x)
    axis = axis_of("softmax", x, axis)
    return record(
        kernels.softmax(x.data, axis),
        (x, lambda g, y: y * (g - sum(g * y, axis, keepdims=True))),
        name="softmax",
        fast=lambda g, y, needed: [Tensor(kernels.softmax_grad(g.data, y.data, axis))],
    )


def log_softmax(x: ArrayLike, axis: int = -1) -> Tensor:
    """y = x - ln Σ eˣ along an axis; dL/dx = g - eʸ·Σ g.

    Numerics: finite for finite x, even where softmax underflows to 0, unless x minus the largest x
    overflows.
    """
    x, _ = floating(x)
    axis = axis_of("log_softmax", x, axis)
    return record(
        kernels.log_softmax(x.data, axis),
        (x, lambda g, y: g - exp(y) * sum(g, axis, keepdims=True)),
        name="log_softmax",
        fast=lambda g, y, needed: [Tensor(kernels.log_softmax_grad(g.data, y.data, axis))],
    )


def standardize(x: ArrayLike, axis: Axis = None, eps: float = 1e-5) -> Tensor:
    """y = (x - mean)/√(var + ε) along axes; dL/dx = (g - mean g - y·mean(g·y))/√(var + ε).

    var is the mean of (x - mean)². All means are taken along `axis`.
    Shapes: y as x.
    Numerics: the mean is subtracted twice, because rounding leaves a little of a large one.
    Raises: ShapeError where x has no elements.
    """
    x, _ = floating(x)
    axes = axes_of("standardize", x, axis)
    check("standardize", ">= 0", eps=eps)
    if not x.size:
        raise ShapeError(f"standardize: expected elements along axis {axis}, got shape {x.shape}")
    value, deviation = kernels.standardize(x.data, axes, eps)
    return record(
        value,
        (x, lambda g, y: _by_input(g, y, sqrt(var(x, axes, keepdims=True) + eps), axes)),
        name="standardize",
        fast=lambda g, y, _: [Tensor(kernels.standardize_grad(g.data, y.data, deviation, axes))],
    )


def _by_input(g: Tensor, y: Tensor, deviation: Tensor, axes: tuple[int, ...]) -> Tensor:
    """dL/dx = (g - mean g - y·mean(g·y))/deviation of a standardised y."""
    inner = g - mean(g, axes, keepdims=True) - y * mean(g * y, axes, keepdims=True)
    return inner / deviation


def batch_norm(
    x: Tensor, weight: Tensor, bias: Tensor, eps: float, running: Any, momentum: float,
    rectify: bool = False,
) -> tuple[Tensor, tuple[Array, Array]]:  # fmt: skip
    """y = x̂·weight + bias with x̂ = standardize(x) by channel, and the running moments, moved.

    `kernels.batch_norm_statistics` says how they move. rectify: y is relu of the above.
    Shapes: x, y (N, C, H, W); weight, bias (C,).
    Gradient: dL/dbias = Σ g and dL/dweight = Σ g·x̂, over all but the channels; dL/dx is that of
    `standardize`, with g·weight in place of g. With relu, g counts only where y > 0.
    """
    x, _ = floating(x)
    found = kernels.batch_norm_statistics(x.data, weight.data, eps, running, momentum)
    average, inverse, scale, moved = found
    axes = (0, 2, 3)

    def by_input(g: Tensor, y: Tensor) -> Tensor:
        deviation = sqrt(var(x, axes, keepdims=True) + eps)
        h = through_relu(g, y, rectify) * weight.reshape(1, -1, 1, 1)
        return _by_input(h, standardize(x, axes, eps), deviation, axes)

    def fast(g: Tensor, y: Tensor, needed: tuple[bool, ...]) -> list[Tensor | None]:
        layer = weight.data, average, inverse, bias.data if rectify else None
        return [Tensor(array) for array in kernels.batch_norm_grads(g.data, x.data, *layer)]

    y = record(
        kernels.batch_norm_affine(x.data, average, scale, bias.data, rectify),
        (x, by_input),
        (weight, lambda g, y: sum(through_relu(g, y, rectify) * standardize(x, axes, eps), axes)),
        (bias, lambda g, y: sum(through_relu(g, y, rectify), axes)),
        name="batch_norm" + rectify * " + relu",
        fast=fast,
    )
    return y, moved
