"""Pooling with `ceil_mode` and without counting the padding; einsum's diagonals and ellipsis."""

import itertools

import numpy as np
import pytest

import minidl as md
from minidl import ops
from minidl.testing import gradcheck


def pooled(x, size, stride, padding, ceil_mode, reduce):
    """The definition: windows that begin in the image or in the padding before it."""

    def places(n):
        most = n + 2 * padding - size
        last = -(-most // stride) if ceil_mode else most // stride
        return [i * stride - padding for i in range(last + 1) if i * stride < n + padding]

    rows, columns = places(x.shape[0]), places(x.shape[1])
    return np.array([[reduce(r, c) for c in columns] for r in rows])


OPTIONS = list(itertools.product((5, 6, 8), (2, 3), (1, 2, 3), (0, 1), (False, True)))


@pytest.mark.parametrize(("n", "size", "stride", "padding", "ceil_mode"), OPTIONS)
def test_pooling_is_its_definition(n, size, stride, padding, ceil_mode):
    x = np.random.default_rng(n).permutation(n * (n + 1)).reshape(n, n + 1) / 7.0
    options = {"stride": stride, "padding": padding, "ceil_mode": ceil_mode}

    def part(r, c, extent=0):
        """The pixels of a window; with extent, how many places it covers up to that far outside."""
        if extent:
            return (min(r + size, n + extent) - max(r, -extent)) * (
                min(c + size, n + 1 + extent) - max(c, -extent)
            )
        return x[max(r, 0) : max(r + size, 0), max(c, 0) : max(c + size, 0)]

    def check(op, reduce, **more):
        expected = pooled(x, size, stride, padding, ceil_mode, reduce)
        found = op(x[None, None], size, **options, **more)
        np.testing.assert_allclose(found.numpy()[0, 0], expected, rtol=1e-12)
        gradcheck(lambda t: op(t, size, **options, **more), x[None, None], order=2)

    check(ops.max_pool2d, lambda r, c: part(r, c).max())
    check(ops.avg_pool2d, lambda r, c: part(r, c).mean(), count_include_pad=False)
    if padding:
        check(ops.avg_pool2d, lambda r, c: part(r, c).sum() / part(r, c, padding))


@pytest.mark.parametrize(
    ("subscripts", "shapes"),
    [
        ("ii->i", [(3, 3)]),
        ("ii", [(3, 3)]),
        ("iii->i", [(2, 2, 2)]),
        ("iij,j->i", [(3, 3, 2), (2,)]),
        ("...ij,jk->...ik", [(2, 3, 4), (4, 2)]),
        ("...i,...i->...", [(2, 3, 4), (1, 3, 4)]),
        ("...ij,...jk", [(2, 3, 4), (5, 1, 4, 2)]),
        ("i...->...", [(2, 3)]),
        ("...->...", [(2, 3)]),
        ("Z...i,...->Z...", [(2, 3, 4), (3,)]),
    ],
)
def test_einsum_with_diagonals_and_ellipsis(subscripts, shapes):
    rng = np.random.default_rng(0)
    xs = [rng.normal(size=shape) for shape in shapes]
    np.testing.assert_allclose(
        ops.einsum(subscripts, *xs).numpy(), np.einsum(subscripts, *xs), rtol=1e-12, atol=1e-12
    )
    gradcheck(lambda *ts: ops.einsum(subscripts, *ts), *xs, order=2)


@pytest.mark.parametrize("shape", [(5, 4), (4, 5), (5, 5)])
def test_of_pixels_that_are_all_infinitely_small_the_first_one_counts(shape):
    """Also where the last window hangs over the edge, as ceil_mode lets it."""
    x = md.tensor(np.full((1, 1, *shape), -np.inf), requires_grad=True)
    y = ops.max_pool2d(x, 2, ceil_mode=True)
    y.backward(np.ones(y.shape))
    wanted = np.zeros(shape)
    wanted[::2, ::2] = 1
    np.testing.assert_array_equal(x.grad.numpy()[0, 0], wanted)
