"""New tensors: zeros, ones, one value, a range, random numbers. float32 unless a dtype is given."""

from typing import Any

import numpy as np

from . import rng
from .device import FLOAT
from .tensor import Tensor, tensor


def zeros(*shape: Any, **options: Any) -> Tensor:
    """0 everywhere. shape: one tuple, or separate ints. options: as in `tensor`."""
    return _new(np.zeros(_shape(shape), FLOAT), options)


def ones(*shape: Any, **options: Any) -> Tensor:
    """1 everywhere. shape: one tuple, or separate ints. options: as in `tensor`."""
    return _new(np.ones(_shape(shape), FLOAT), options)


def full(shape: Any, value: float, **options: Any) -> Tensor:
    """`value` everywhere. options: as in `tensor`."""
    plain = options.get("dtype") is None
    return _new(np.full(_shape((shape,)), value, FLOAT if plain else None), options)


def arange(*bounds: float, **options: Any) -> Tensor:
    """start, start + step, ..., up to but without stop; start is 0 and step is 1 by default.

    bounds: (stop), (start, stop) or (start, stop, step). Whole numbers give integers.
    options: as in `tensor`.
    """
    return _new(np.arange(*bounds), options)


def randn(*shape: Any, **options: Any) -> Tensor:
    """Random numbers from N(0, 1), which `manual_seed` restarts. options: as in `tensor`."""
    return _new(rng.generator().normal(size=_shape(shape)), options)


def rand(*shape: Any, **options: Any) -> Tensor:
    """Random numbers from U(0, 1), which `manual_seed` restarts. options: as in `tensor`."""
    return _new(rng.generator().uniform(size=_shape(shape)), options)


def _new(values: np.ndarray, options: dict[str, Any]) -> Tensor:
    return tensor(values, **options)


def _shape(shape: tuple[Any, ...]) -> Any:
    return shape[0] if len(shape) == 1 else shape
