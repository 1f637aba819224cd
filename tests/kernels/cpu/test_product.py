"""Products in pieces are the product."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl import kernels
from minidl.kernels.cpu import product

from ..cases import TOLERANCE, rearranged

SIZES = st.sampled_from([0, 1, 2, 3, 8, 16, 17, 30, 64])
STACKS = st.sampled_from([((), ()), ((3,), (3,)), ((), (2,)), ((2, 1), (3,)), ((4,), ())])


@pytest.fixture(params=[(1, 1), (20, 4), (100, 300), (500_000, 1200)])
def cut(request, monkeypatch):
    monkeypatch.setattr(product, "PIECE", request.param[0])
    monkeypatch.setattr(product, "SMALL", request.param[1])


@given(SIZES, SIZES, SIZES, STACKS, st.sampled_from([np.float32, np.float64]), st.integers(0, 99))
def test_every_shape_stack_and_memory_order(cut, m, k, n, stacks, dtype, seed):
    random = np.random.default_rng(seed)
    a = rearranged(random, random.normal(size=(*stacks[0], m, k)).astype(dtype))
    b = rearranged(random, random.normal(size=(*stacks[1], k, n)).astype(dtype))
    y, right = product.product(a, b), np.matmul(a.astype(np.float64), b.astype(np.float64))
    assert y.dtype == dtype and y.shape == right.shape
    np.testing.assert_allclose(y, right, TOLERANCE[y.dtype], TOLERANCE[y.dtype])


@given(SIZES, SIZES, SIZES, st.sampled_from([(), (3,)]), st.integers(0, 99))
def test_side_by_side_fills_what_it_is_given(cut, m, k, n, stack, seed):
    random = np.random.default_rng(seed)
    a = rearranged(random, random.integers(-3, 4, (m, k)).astype(np.float32))
    b = rearranged(random, random.integers(-3, 4, (*stack, k, n)).astype(np.float32))
    room = np.full((*stack, m, n + 2), 9, np.float32)
    product.side_by_side(a, b, out=room[..., 1:-1])
    np.testing.assert_array_equal(room[..., 1:-1], np.matmul(a, b))
    assert (room[..., [0, -1]] == 9).all()


@pytest.mark.parametrize(("length", "others", "pieces"), [
    (6272, 320, 7), (6151, 320, 1), (1001, 3000, 7), (999, 999, 3), (20, 50_000, 2), (0, 5, 1),
    (22, 68_000, 11), (26, 57_692, 1),  # at least 3, and less than four times as many
])  # fmt: skip
def test_pieces_are_equal_and_small(length, others, pieces):
    found = product._pieces(length, others)
    assert found == pieces
    assert found == 1 or (length % found == 0 and length * others <= found * product.PIECE)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("m", "k", "n"), [(10, 6272, 32), (10, 6151, 32), (10, 64, 6272)])
def test_products_of_the_size_that_it_is_for(dtype, m, k, n):
    random = np.random.default_rng(0)
    a, b = random.normal(size=(m, k)).astype(dtype), random.normal(size=(n, k)).astype(dtype).T
    error = np.abs(product.product(a, b) - a.astype(np.longdouble) @ b)
    assert (error <= k * np.finfo(dtype).eps * (np.abs(a) @ np.abs(b))).all()


@pytest.mark.parametrize("dtype", [np.int32, np.bool_, np.float16])
def test_other_types_are_left_to_numpy(dtype):
    a = np.ones((10, 20_000), dtype)
    y = kernels.product(a, a.T)
    assert y.dtype == (a @ a.T).dtype
    np.testing.assert_array_equal(y, a @ a.T)


@pytest.mark.parametrize(("m", "k", "n", "turned", "cut"), [
    (10, 6272, 32, False, "k"),
    (100, 12, 1000, False, None),  # more than a million, but the sums are short
    (30, 1201, 40, False, "k"),
    (10, 2000, 50, False, None),  # a million, which OpenBLAS takes as small
    (10, 1300, 10, False, None),
    (30, 1200, 40, False, None),  # sums no longer than the result
    (30, 1201, 41, False, None),  # a result that OpenBLAS does not take as small
    (10, 16, 6250, True, None),
    (10, 17, 6250, True, "n"),
    (16, 17, 6250, True, "n"),
    (17, 18, 6250, True, None),
    (16, 17, 6250, False, None),  # b lies row by row
    (16, 16, 6250, True, None),  # sums of 16 terms
    (16, 500, 500, True, None),
    (16, 500, 501, True, "n"),
])  # fmt: skip
def test_which_products_are_cut(monkeypatch, m, k, n, turned, cut):
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(product, "_pieces", lambda *sizes: asked.append(sizes) or 1)
    b = np.ones((n, k)).T if turned else np.ones((k, n))
    assert (product.product(np.ones((m, k)), b) == k).all()
    assert asked == {None: [], "k": [(k, m * n)], "n": [(n, m * k)]}[cut]
    for left, right in ((2, m, k), (k, n)), ((m, k), (2, k, n)), ((2, m, k), (2, k, n)):
        asked.clear()
        assert (product.product(np.ones(left), np.broadcast_to(b, right)) == k).all()
        assert asked == ([(k, m * n)] if cut == "k" else [])  # of a stack, only sums are cut
