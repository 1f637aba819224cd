"""Adding a product, through the library and without it."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl.kernels import blas

from .cases import TOLERANCE, rearranged


@pytest.fixture(params=["library", "numpy"])
def both(request, monkeypatch):
    if request.param == "numpy":
        monkeypatch.setattr(blas, "_gemm", {})
    elif not blas._gemm:
        pytest.skip("this build of NumPy shows no gemm")


@given(
    st.tuples(*[st.integers(0, 5)] * 3),
    st.integers(0, 2**32 - 1),
    st.sampled_from([np.float32, np.float64]),
)
def test_adds_the_product_and_touches_nothing_else(both, sizes, seed, dtype):
    rows, inner, columns = sizes
    random = np.random.default_rng(seed)
    a = rearranged(random, random.normal(size=(rows, inner)).astype(dtype))
    b = rearranged(random, random.normal(size=(inner, columns)).astype(dtype))
    room = random.normal(size=(rows + 2, columns + 2)).astype(dtype)
    right = room.copy()
    right[1:-1, 1:-1] += a @ b
    blas.add_product(room[1:-1, 1:-1], a, b)
    np.testing.assert_allclose(room, right, rtol=0, atol=TOLERANCE[right.dtype])


def test_takes_views_that_are_shifted_transposed_or_repeated(both):
    grid = np.arange(60.0).reshape(6, 10)
    for a in (grid[:, 2:6], grid[:, 2:6][:, ::-1], np.broadcast_to(grid[:1, :4], (6, 4))):
        for b in (grid[:4, 1:5], grid[1:5, :4].T, np.broadcast_to(grid[:4, :1], (4, 4))):
            for out in (np.ones((6, 4)), np.ones((4, 6)).T):
                blas.add_product(out, a, b)
                np.testing.assert_array_equal(out, 1 + a @ b)


def test_mixed_types_are_left_to_numpy(both):
    out = np.ones((2, 2), np.float64)
    blas.add_product(out, np.ones((2, 3), np.float32), np.ones((3, 2)))
    np.testing.assert_array_equal(out, 4)


def test_a_library_that_counts_wrong_is_not_used(monkeypatch):
    monkeypatch.setitem(blas._gemm, "d", lambda *arguments: None)
    assert not blas._counts_right("d")


def test_the_switch_turns_it_off():
    code = "from minidl.kernels import blas; print(len(blas._gemm))"
    for value in ("0", "1"):
        found = subprocess.run(
            [sys.executable, "-c", code],
            env={"MINIDL_BLAS": value, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        assert int(found) == (0 if value == "0" else len(blas._load()))
