"""Random valid inputs for operations: small shapes, values away from the kinks."""

from collections.abc import Callable
from typing import Any

import numpy as np

Rng = np.random.Generator
Call = tuple[list[Any], dict[str, Any]]  # positional arrays, keyword arguments
Draw = Callable[[Rng], Call]

SHAPES: tuple[tuple[int, ...], ...] = ((), (1,), (3,), (4,), (2, 3), (1, 3), (3, 1), (2, 1, 3))
EDGE_SHAPES: tuple[tuple[int, ...], ...] = ((), (1,), (1, 1), (0,), (0, 2), (2, 0, 1))


def chance(rng: Rng) -> bool:
    return bool(rng.integers(2))


def pick(rng: Rng, options: Any) -> Any:
    """One of the options, as it is (rng.choice would make arrays of tuples)."""
    options = list(options)
    return options[int(rng.integers(len(options)))]


def shape_of(rng: Rng, least: int = 0) -> tuple[int, ...]:
    return pick(rng, [s for s in SHAPES if len(s) >= least])


def normal(rng: Rng, shape: tuple[int, ...]) -> np.ndarray:
    return np.asarray(rng.normal(size=shape))


def away(x: np.ndarray, *kinks: float, gap: float = 0.05) -> np.ndarray:
    """x pushed off each kink by at least the gap."""
    for kink in kinks:
        x = np.where(np.abs(x - kink) < gap, kink + np.where(x >= kink, gap, -gap) + (x - kink), x)
    return np.asarray(x)


def spaced(rng: Rng, shape: tuple[int, ...]) -> np.ndarray:
    """Distinct values, shuffled, 0.1 apart and a little irregular: no ties, no near ties."""
    n = int(np.prod(shape))
    values = 0.1 * (np.arange(n) - n / 2) + rng.uniform(0, 0.03, n)
    return rng.permutation(values).reshape(shape)


def unary(low: float = -2.0, high: float = 2.0, kinks: tuple[float, ...] = ()) -> Draw:
    """x of any shape, uniform in [low, high], off the kinks."""

    def draw(rng: Rng) -> Call:
        return [away(np.asarray(rng.uniform(low, high, shape_of(rng))), *kinks)], {}

    return draw


def pair_of_shapes(rng: Rng) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Two shapes that broadcast against each other, in every way there is."""
    full = tuple(int(n) for n in rng.integers(1, 4, rng.integers(0, 4)))
    a = tuple(1 if rng.random() < 0.3 else n for n in full)
    b = tuple(1 if m != 1 and rng.random() < 0.3 else n for n, m in zip(full, a, strict=True))
    cut = int(rng.integers(len(full) + 1)) if chance(rng) else 0
    pair = (a[cut:], b)
    return pair if chance(rng) else pair[::-1]


def binary(make: Callable[[Rng, tuple[int, ...]], np.ndarray] = normal, second: Any = None) -> Draw:
    """Two arrays that broadcast."""

    def draw(rng: Rng) -> Call:
        first, other = pair_of_shapes(rng)
        return [make(rng, first), (second or make)(rng, other)], {}

    return draw


def apart(rng: Rng) -> Call:
    """Two arrays that broadcast, nowhere nearer to each other than 0.05."""
    first, second = pair_of_shapes(rng)
    a, b = np.round(normal(rng, first), 1), np.round(normal(rng, second), 1) + 0.05
    return [a, b], {}


def axis_of(rng: Rng, ndim: int, several: bool = True) -> Any:
    """None, an axis of either sign, or a tuple of axes."""
    kind = int(rng.integers(4 if several else 2))
    if ndim == 0 or (several and kind == 0):
        return None
    if kind == 1 or not several:
        return int(rng.integers(-ndim, ndim))
    axes = rng.permutation(ndim)[: rng.integers(1, ndim + 1)].tolist()
    return tuple(a - ndim if chance(rng) else a for a in axes)


def reduction(make: Callable[[Rng, tuple[int, ...]], np.ndarray] = normal, least: int = 0) -> Draw:
    """x, and axis and keepdims given or left to their defaults."""

    def draw(rng: Rng) -> Call:
        x = make(rng, shape_of(rng, least))
        kwargs: dict[str, Any] = {}
        if rng.random() < 0.8:
            kwargs["axis"] = axis_of(rng, x.ndim)
        if chance(rng):
            kwargs["keepdims"] = chance(rng)
        return [x], kwargs

    return draw


def spread(rng: Rng) -> Call:
    """For var: more elements along the axes than ddof."""
    x = spaced(rng, pick(rng, ((3,), (2, 3), (3, 2), (2, 2, 3))))
    kwargs: dict[str, Any] = {}
    if rng.random() < 0.8:
        kwargs["axis"] = axis_of(rng, x.ndim)
    if chance(rng):
        kwargs["ddof"] = int(rng.integers(2))
    if chance(rng):
        kwargs["keepdims"] = chance(rng)
    return [x], kwargs


def along_axis(rng: Rng) -> Call:
    """x and one axis, given or left to its default."""
    x = normal(rng, shape_of(rng, 1))
    return [x], ({"axis": axis_of(rng, x.ndim, several=False)} if rng.random() < 0.7 else {})


def pixels(rng: Rng, k: int) -> tuple[int, int]:
    return int(rng.integers(k, k + 4)), int(rng.integers(k, k + 4))


def pair_or_int(rng: Rng, low: int, high: int) -> Any:
    if chance(rng):
        return int(rng.integers(low, high + 1))
    return int(rng.integers(low, high + 1)), int(rng.integers(low, high + 1))


def convolution(rng: Rng) -> Call:
    """x, w, perhaps b, and any of stride, padding, dilation, groups."""
    groups = pick(rng, (1, 1, 2))
    kh, kw = int(rng.integers(1, 4)), int(rng.integers(1, 4))
    kwargs: dict[str, Any] = {} if groups == 1 else {"groups": groups}
    if chance(rng):
        kwargs["stride"] = pair_or_int(rng, 1, 3)
    if chance(rng):
        kwargs["padding"] = pick(rng, ("same", "valid", pair_or_int(rng, 0, 2)))
    if rng.random() < 0.3:
        kwargs["dilation"] = pair_or_int(rng, 1, 2)
    c_in, c_out = groups * int(rng.integers(1, 3)), groups * int(rng.integers(1, 3))
    x = normal(rng, (int(rng.integers(1, 3)), c_in, *pixels(rng, 5)))
    arrays = [x, normal(rng, (c_out, c_in // groups, kh, kw))]
    if chance(rng):
        arrays.append(normal(rng, (c_out,)))
    return arrays, kwargs


def transposed_convolution(rng: Rng) -> Call:
    """x, w, perhaps b, and arguments for which the output is not empty."""
    groups = pick(rng, (1, 1, 2))
    kh, kw = int(rng.integers(1, 4)), int(rng.integers(1, 4))
    kwargs: dict[str, Any] = {} if groups == 1 else {"groups": groups}
    if chance(rng):
        kwargs["stride"] = pair_or_int(rng, 1, 3)
    if chance(rng):
        kwargs["padding"] = pick(rng, ("same", "valid", pair_or_int(rng, 0, 1)))
    if rng.random() < 0.3:
        kwargs["dilation"] = pair_or_int(rng, 1, 2)
    if kwargs.get("stride", 1) in (2, 3) and kwargs.get("padding") != "same" and chance(rng):
        kwargs["output_padding"] = pick(rng, (1, (0, 1), (1, 0)))
    c_in, c_out = groups * int(rng.integers(1, 3)), groups * int(rng.integers(1, 3))
    x = normal(rng, (int(rng.integers(1, 3)), c_in, *(int(n) for n in rng.integers(3, 5, 2))))
    arrays = [x, normal(rng, (c_in, c_out // groups, kh, kw))]
    if chance(rng):
        arrays.append(normal(rng, (c_out,)))
    return arrays, kwargs


def pooling(make: Callable[[Rng, tuple[int, ...]], np.ndarray]) -> Draw:
    """x and a window, with padding smaller than it."""

    def draw(rng: Rng) -> Call:
        size = pair_or_int(rng, 1, 3)
        kwargs: dict[str, Any] = {"size": size}
        if chance(rng):
            kwargs["stride"] = pair_or_int(rng, 1, 3)
        smallest = size if isinstance(size, int) else min(size)
        kwargs["padding"] = pick(rng, (0, "valid", "same", smallest - 1))
        if chance(rng):
            del kwargs["padding"]
        x = make(rng, (int(rng.integers(1, 3)), int(rng.integers(1, 3)), *pixels(rng, 3)))
        return [x], kwargs

    return draw
