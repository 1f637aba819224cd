"""Drawn convolutions and poolings, in every memory order, for the tests of this folder."""

from typing import NamedTuple

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from minidl.errors import ShapeError
from minidl.kernels import Window, window

TOLERANCE = {np.dtype(np.float32): 1e-4, np.dtype(np.float64): 1e-12}


class Case(NamedTuple):
    window: Window
    x: np.ndarray  # (N, C, H, W)
    w: np.ndarray  # (O, C/groups, kh, kw)
    b: np.ndarray | None
    g: np.ndarray  # (N, O, OH, OW), the cotangent of a convolution
    groups: int
    random: np.random.Generator

    def pooled(self) -> np.ndarray:
        """A cotangent of a pooling."""
        shape = (*self.x.shape[:2], *self.window.out)
        return rearranged(self.random, self.random.normal(size=shape).astype(self.x.dtype))


def rearranged(random: np.random.Generator, array: np.ndarray) -> np.ndarray:
    """The same numbers in some memory order: permuted, reversed or with gaps."""
    order = random.permutation(array.ndim)
    array = np.ascontiguousarray(array.transpose(order)).transpose(np.argsort(order))
    axis = int(random.integers(array.ndim))
    backwards = np.flip(np.flip(array, axis).copy(order="K"), axis)
    gaps = np.repeat(array, 2, axis)[(slice(None),) * axis + (slice(None, None, 2),)]
    return [array, backwards, gaps][random.integers(3)]


@st.composite
def cases(draw, max_groups: int = 1, distinct: bool = True) -> Case:
    """A window that fits, its images, and a seed's worth of numbers (integers unless distinct)."""
    sizes = st.integers(1, 3)
    pairs = st.tuples(sizes, sizes)
    image = draw(st.tuples(st.integers(1, 6), st.integers(1, 6)))
    padding = draw(st.one_of(st.sampled_from(["same", "valid"]), pairs, st.integers(0, 2)))
    try:
        place = window("test", image, draw(pairs), draw(pairs), padding, draw(pairs))
    except ShapeError:
        assume(False)
    groups = draw(st.integers(1, max_groups))
    per_group, n_out = draw(st.sampled_from([1, 2, 6])), groups * draw(st.integers(1, 2))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))

    def numbers(*shape: int) -> np.ndarray:
        values = random.normal(size=shape) if distinct else random.integers(-1, 2, shape)
        return rearranged(random, values.astype(dtype))

    n = draw(st.integers(1, 2))
    return Case(
        place,
        numbers(n, groups * per_group, *image),
        numbers(n_out, per_group, *place.size),
        draw(st.sampled_from([None, numbers(n_out)])),
        numbers(n, n_out, *place.out),
        groups,
        random,
    )


def close(found: np.ndarray, right: np.ndarray) -> None:
    """Equal but for rounding, of one shape and one type."""
    assert found.shape == right.shape
    assert found.dtype == right.dtype
    tolerance = TOLERANCE[right.dtype]
    np.testing.assert_allclose(found, right, rtol=tolerance, atol=tolerance * 10)
