"""Hypothesis strategies for tensors, shapes, windows, memory layouts and whole expressions.

Hypothesis draws shapes and a seed, NumPy the elements: that is fast and still shrinks well.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from ..tensor import Tensor
from .expression import Expression, random_expression
from .properties import broadcast_view, layouts_of

Shape = tuple[int, ...]
SEEDS = st.integers(0, 2**32 - 1)


def shapes(*, least: int = 0, most: int = 3, longest: int = 4, empty: bool = False) -> Any:
    """Shapes of `least` to `most` axes, each of length 1 to `longest` (from 0 if empty)."""
    lengths = st.integers(0 if empty else 1, longest)
    return st.lists(lengths, min_size=least, max_size=most).map(tuple)


@st.composite
def tensors(
    draw: Any,
    shape: Any = None,
    *,
    dtype: Any = "float64",
    low: float = -2.0,
    high: float = 2.0,
    requires_grad: bool = False,
) -> Tensor:
    """Tensors with elements uniform in [low, high]; shape is one, or a strategy for one."""
    chosen = draw(shapes() if shape is None else shape) if not isinstance(shape, tuple) else shape
    rng = np.random.default_rng(draw(SEEDS))
    x = Tensor(np.asarray(rng.uniform(low, high, chosen), dtype=dtype))
    x.requires_grad = requires_grad
    return x


@st.composite
def broadcastable_shapes(draw: Any, number: int = 2, *, most: int = 3, longest: int = 3) -> Any:
    """`number` shapes that broadcast against each other: some axes of length 1, some left out."""
    full = draw(shapes(most=most, longest=longest))
    found = []
    for _ in range(number):
        cut = draw(st.integers(0, len(full)))
        found.append(tuple(draw(st.sampled_from((n, 1))) for n in full[cut:]))
    return tuple(found)


@st.composite
def away_from(
    draw: Any, kinks: Sequence[float], shape: Any = None, *, gap: float = 0.05, reach: float = 2.0
) -> np.ndarray:
    """float64 arrays of elements in [-reach, reach], all at least `gap` away from each kink."""
    x = draw(tensors(shape, low=-reach, high=reach)).numpy()
    for kink in sorted(kinks):
        near = np.abs(x - kink) < gap
        x = np.where(near, kink + np.where(x < kink, -gap, gap) * (1 + np.abs(x - kink) / gap), x)
    return np.asarray(x)


@st.composite
def distinct(draw: Any, shape: Any = None, *, gap: float = 0.1) -> np.ndarray:
    """float64 arrays of shuffled values at least `gap` apart: no ties, no near ties."""
    chosen = draw(shapes() if shape is None else shape) if not isinstance(shape, tuple) else shape
    rng = np.random.default_rng(draw(SEEDS))
    n = int(np.prod(chosen))
    values = 1.3 * gap * (np.arange(n) - n / 2) + rng.uniform(0, 0.3 * gap, n)
    return rng.permutation(values).reshape(chosen)


@st.composite
def layouts(draw: Any, array: np.ndarray, *, broadcast: bool = False) -> np.ndarray:
    """Views and copies of the same values: contiguous, Fortran-ordered, strided, reversed.

    broadcast: also with stride 0, which repeats the first entry of the leading axis.
    """
    found = [array, *(view for _, view in layouts_of(array))]
    return draw(st.sampled_from([*found, broadcast_view(array)] if broadcast else found))


@st.composite
def cotangent_like(draw: Any, y: Any) -> np.ndarray:
    """Random cotangents of y's shape and dtype, no element near 0."""
    shape, dtype = np.shape(y), getattr(y, "dtype", np.dtype(np.float64))
    rng = np.random.default_rng(draw(SEEDS))
    u = rng.uniform(0.5, 1.5, shape) * rng.choice((-1.0, 1.0), shape)
    return np.asarray(u, dtype=dtype)


@dataclass(frozen=True)
class ConvConfig:
    """Shapes and arguments of a convolution that fit each other."""

    x: tuple[int, int, int, int]
    w: tuple[int, int, int, int]
    kwargs: dict[str, Any]

    def arrays(self, seed: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(seed)
        return rng.normal(size=self.x), rng.normal(size=self.w)


def _pairs(low: int, high: int) -> Any:
    number = st.integers(low, high)
    return number | st.tuples(number, number)


@st.composite
def conv_configs(draw: Any) -> ConvConfig:
    """Configurations of conv2d: every kind of stride, padding, dilation and groups, all small."""
    groups = draw(st.integers(1, 3))
    kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    kwargs = {
        "stride": draw(_pairs(1, 3)),
        "padding": draw(st.sampled_from(("valid", "same")) | _pairs(0, 2)),
        "dilation": draw(_pairs(1, 2)),
        "groups": groups,
    }
    per_group, c_out = draw(st.integers(1, 2)), groups * draw(st.integers(1, 2))
    pixels = draw(st.tuples(st.integers(5, 8), st.integers(5, 8)))  # the largest reach is 5
    n = draw(st.integers(1, 2))
    return ConvConfig((n, groups * per_group, *pixels), (c_out, per_group, *kernel), kwargs)


@dataclass(frozen=True)
class PoolConfig:
    """Shape and arguments of a pooling that fit each other."""

    x: tuple[int, int, int, int]
    kwargs: dict[str, Any]


@st.composite
def pool_configs(draw: Any) -> PoolConfig:
    """Configurations of max_pool2d and avg_pool2d; padding is smaller than the window."""
    size = draw(_pairs(1, 3))
    least = size if isinstance(size, int) else min(size)
    kwargs: dict[str, Any] = {
        "size": size,
        "padding": draw(st.sampled_from(("valid", "same")) | _pairs(0, least - 1)),
    }
    stride = draw(st.none() | _pairs(1, 3))
    if stride is not None:
        kwargs["stride"] = stride
    n, c = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    pixels = draw(st.tuples(st.integers(3, 7), st.integers(3, 7)))
    return PoolConfig((n, c, *pixels), kwargs)


@st.composite
def expressions(draw: Any, *, most: int = 12) -> Expression:
    """Random expressions of up to `most` operations over shared leaves; smooth at their leaves."""
    return random_expression(draw(st.integers(1, most)), draw(SEEDS))
