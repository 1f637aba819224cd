"""Adding a multiple, through the library and without it."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl.kernels.cpu import blas


@pytest.fixture(params=["library", "numpy"])
def both(request, monkeypatch):
    if request.param == "numpy":
        monkeypatch.setattr(blas, "_axpy", {})
    elif not blas._axpy:
        pytest.skip("this build of NumPy shows no BLAS")


def test_mixed_types_are_left_to_numpy(both):
    out = np.ones((2, 2), np.float64)
    blas.add_multiple(out, 2.0, np.ones((2, 2), np.float32))
    np.testing.assert_array_equal(out, 3)


@given(
    st.lists(st.integers(0, 4), max_size=3).map(tuple),
    st.sampled_from([0.0, 1.0, -0.3, 2.5]),
    st.integers(0, 2**32 - 1),
    st.sampled_from([np.float32, np.float64]),
)
def test_adds_the_multiple_and_touches_nothing_else(both, shape, factor, seed, dtype):
    random = np.random.default_rng(seed)
    room = random.normal(size=(3, *shape)).astype(dtype)
    out, a = room[1, ...], np.asarray(random.normal(size=shape), dtype)
    right, around = out + dtype(factor) * a, room[::2].copy()
    blas.add_multiple(out, factor, a)
    np.testing.assert_allclose(out, right, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(room[::2], around)


def test_adds_to_transposed_and_to_spread_arrays(both):
    grid = np.arange(12.0).reshape(3, 4)
    for out, a in (
        (np.ones((4, 3)).T, grid),
        (np.ones((4, 3)).T, np.asfortranarray(grid)),
        (np.ones((3, 8))[:, ::2], grid),
        (np.ones((3, 8))[:, ::2], np.ones((3, 8))[:, ::2]),
        (np.ones((3, 4))[::-1], np.ones((3, 4))[::-1]),
    ):
        expected = out + 3 * a
        blas.add_multiple(out, 3.0, a)
        np.testing.assert_array_equal(out, expected)


def test_a_scalar_of_numpy_is_no_array(both):
    out = np.zeros((), np.float32)
    blas.add_multiple(out, 2.0, np.float32(3))
    assert out == 6
    with pytest.raises(AssertionError):
        blas._address(np.float32(3))


def test_zero_times_infinity_and_foreign_bytes(both):
    out = np.zeros(3)
    with np.errstate(invalid="ignore"):
        blas.add_multiple(out, 0.0, np.array([1.0, np.inf, 2.0]))
    np.testing.assert_array_equal(out, [0, np.nan, 0])
    swapped = np.ones((3, 3)).astype(">f8")
    blas.add_multiple(swapped, 2.0, swapped.copy())
    np.testing.assert_array_equal(swapped, 3)


def test_a_library_that_counts_wrong_is_not_used(monkeypatch):
    assert blas._counts_right("d")
    monkeypatch.setitem(blas._axpy, "d", lambda *arguments: None)
    assert not blas._counts_right("d")


def test_the_switch_turns_it_off():
    code = "from minidl.kernels.cpu import blas; print(len(blas._axpy))"
    for value in ("0", "1"):
        found = subprocess.run(
            [sys.executable, "-c", code],
            env={"MINIDL_BLAS": value, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        assert int(found) == (0 if value == "0" else len(blas._axpy))


@pytest.mark.parametrize("order", ["C", "F"])
def test_read_only_memory_is_refused_and_stays(both, order):
    held = np.ones((3, 4)).tobytes()
    out = np.frombuffer(held).reshape((3, 4), order=order)
    with pytest.raises(ValueError, match="read-only"):
        blas.add_multiple(out, 2.0, np.ones((3, 4), order=order))
    assert held == np.ones(12).tobytes()
