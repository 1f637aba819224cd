"""Derivatives without a difference: a step into the imaginary direction."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import GradientError
from ..tensor import Tensor, as_tensor


def complex_step(f: Callable[[Tensor], Tensor], x: Any, d: Any = None) -> np.ndarray:
    """J·d of an analytic function, Im f(x + ihd)/h with h = 2⁻¹⁰⁰: exact to the last digits.

    Shapes: d as x (ones by default); the result as f(x).
    Formula: f(x + ihd) = f(x) + ih·J·d - O(h²): nothing is subtracted, so h can vanish.
    f must be analytic: no abs, maximum or norm, nor the ops that hold one for stability (sigmoid,
    softplus, silu, ...). To find a function that is not, the result is compared with a coarse
    central difference.
    Raises: GradientError for a d of another shape, and where f returns real numbers for complex
    ones, or infinite ones or NaN, or is not analytic.
    """
    step = 2.0**-100  # a power of two: dividing by it rounds nothing
    real = as_tensor(x).numpy().astype(np.float64)
    direction = np.ones_like(real) if d is None else as_tensor(d).numpy().astype(np.float64)
    if direction.shape != real.shape:
        raise GradientError(
            f"complex_step: expected d of shape {real.shape}, got {direction.shape}"
        )
    y = f(Tensor(real + 1j * step * direction))
    if not isinstance(y, Tensor) or y.dtype.kind != "c":
        kind = y.dtype if isinstance(y, Tensor) else type(y).__name__
        raise GradientError(
            f"complex_step: expected f to return a complex Tensor, got {kind}: f is not analytic"
        )
    if not np.all(np.isfinite(y.numpy())):
        raise GradientError("complex_step: f gives values that are not finite")
    found, coarse = y.numpy().imag / step, 1e-5
    ends = [f(Tensor(real + sign * coarse * direction)).numpy() for sign in (1, -1)]
    gap = np.abs((ends[0] - ends[1]) / (2 * coarse) - found)
    if not np.all(gap <= 1e-3 * (np.abs(found).max(initial=0) + np.abs(ends[0]).max(initial=0))):
        raise GradientError(
            "complex_step: the step and a central difference disagree: f is not analytic (abs, "
            "maximum, norm, sigmoid and softplus choose between cases); use gradcheck"
        )
    return found
