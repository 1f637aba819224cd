"""Norms: right at every scale, on both devices, and infinite or NaN only where x is."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl import device, norms
from tests import standin

pytestmark = pytest.mark.host
DTYPES = [np.float16, np.float32, np.float64]


@pytest.fixture(params=["cpu", "gpu"])
def place(request):
    return np.asarray if request.param == "cpu" else request.getfixturevalue("gpu")


def exact(x):
    """√(Σ x²) by whole numbers: no rounding before the last step."""
    square = sum((Fraction(float(v)) ** 2 for v in np.ravel(x)), Fraction(0))
    if not square:
        return 0.0
    shift = square.denominator.bit_length() - square.numerator.bit_length() + 120
    shift += shift % 2
    root = math.isqrt(int(square * Fraction(2) ** shift))
    return float(Fraction(root) / Fraction(2) ** (shift // 2))


@st.composite
def arrays(draw):
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    shape = draw(st.lists(st.integers(1, 4), max_size=3))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    top = np.finfo(dtype).maxexp - 3
    power = draw(st.integers(-top, top))
    with np.errstate(under="ignore"):
        x = (random.uniform(-1, 1, shape) * 2.0**power).astype(dtype)
    return np.asarray(x.transpose(random.permutation(x.ndim)))


@given(arrays())
def test_every_norm_is_the_exact_one_at_any_scale(place, x):
    there, right = place(x), exact(x)
    narrow = {"rel": 1e-12, "abs": 0}
    quick = {"rel": 1e-5 if x.dtype == np.float32 else 1e-12, "abs": 0}
    assert norms.rms(there) == pytest.approx(right / math.sqrt(x.size), **narrow)
    assert float(norms.l2(there)) == pytest.approx(right, **narrow)
    assert float(norms.quick_l2(there)) == pytest.approx(right, **quick)
    together = exact([right, right, right])
    assert float(norms.global_l2(iter([there] * 3))) == pytest.approx(together, **quick)


@given(arrays(), st.integers(0, 7), st.booleans())
def test_along_axes(place, x, chosen, keepdims):
    axes = tuple(a for a in range(x.ndim) if chosen >> a & 1)
    y = device.to_host(norms.l2(place(x), axes, keepdims))
    largest = np.abs(x).max(initial=0).astype(float) or 1.0
    right = largest * np.sqrt(np.square(x / largest).sum(axes, keepdims=keepdims))
    assert y.shape == right.shape and y.dtype == np.float64
    close = 1e-2 if x.dtype == np.float16 else 1e-6
    np.testing.assert_allclose(y, right, rtol=close, atol=close * largest)


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_not_finite_is_said(place, dtype):
    for values, right in (
        ([1, np.inf, 2], np.inf),
        ([-np.inf, np.inf], np.inf),
        ([1, np.nan], np.nan),
        ([np.inf, np.nan], np.nan),
    ):
        x = place(np.array(values, dtype))
        found = norms.rms(x), norms.l2(x), norms.quick_l2(x), norms.global_l2([x, x])
        np.testing.assert_array_equal([float(n) for n in found], right)
    nan, inf = place(np.array([np.nan], dtype)), place(np.array([np.inf], dtype))
    for pair in ([nan, inf], [inf, nan]):
        assert math.isnan(norms.global_l2(pair))


def test_a_mean_fits_where_the_sum_does_not(place):
    x = np.full(16, 1e308)
    assert norms.rms(place(x)) == pytest.approx(1e308)
    assert float(norms.l2(place(x))) == np.inf
    assert float(norms.quick_l2(place(x / 16))) == pytest.approx(2.5e307)


def test_nothing_and_zeros(place):
    empty = place(np.zeros((0, 3), np.float32))
    assert norms.rms(empty) == 0 and float(norms.quick_l2(empty)) == 0
    assert device.to_host(norms.l2(empty, 0)).tolist() == [0, 0, 0]
    assert norms.l2(empty, 1, keepdims=True).shape == (0, 1)
    assert norms.global_l2([]) == 0
    zeros = place(np.zeros((2, 3), np.float32))
    assert float(norms.global_l2([zeros, empty])) == norms.rms(zeros) == 0


def test_integers_and_complex_numbers(place):
    whole = place(np.array([-128, 127], np.int8))
    assert float(norms.quick_l2(whole)) == pytest.approx(math.hypot(128, 127))
    for scale in (1, 1e200, 1e-200):
        z = place(scale * np.array([3 + 4j, 12j]))
        for norm in (norms.l2, norms.quick_l2, lambda z: norms.rms(z) * math.sqrt(2)):
            assert float(norm(z)) == pytest.approx(13 * scale, rel=1e-12, abs=0)


def test_a_scalar_needs_no_axis(place):
    x = place(np.float32(-3))
    assert norms.rms(x) == float(norms.quick_l2(x)) == float(norms.l2(x)) == 3


def test_on_the_host_a_float_and_on_a_gpu_no_waiting(gpu):
    x = np.ones((2, 3), np.float32)
    assert type(norms.quick_l2(x)) is type(norms.global_l2([x, x])) is float
    for dtype in DTYPES:
        there = gpu(x.astype(dtype))
        standin.counter.clear()
        for norm in (norms.quick_l2(there), norms.global_l2([there, there])):
            assert norm.shape == () and norm.dtype == np.float64
        assert standin.counter.waited == []


def test_the_quick_way_is_one_dot_product(monkeypatch):
    monkeypatch.setattr(norms, "l2", None)
    x = np.asfortranarray(np.full((2, 2), 3e-12, np.float32))
    assert norms.quick_l2(x) == pytest.approx(6e-12)
    assert norms.quick_l2(np.full(4, 4e18, np.float32)) == pytest.approx(8e18)
    for lost in (1e-13, 1e19, 0, np.inf):
        with pytest.raises(TypeError):  # what is not sound is left to l2
            norms.quick_l2(np.full(4, lost, np.float32))
