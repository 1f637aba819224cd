"""Ties, the ends of the range, defaults and errors of reductions."""

import numpy as np
import pytest

import minidl as md
from minidl import ops
from minidl.errors import DTypeError, ShapeError


def gradient(f, x, u=None):
    leaf = md.tensor(x, dtype="float64", requires_grad=True)
    f(leaf).backward(u)
    return leaf.grad.numpy().tolist()


def test_max_and_min_share_equally_among_ties():
    x = [[1.0, 3.0, 3.0], [3.0, 0.0, 1.0]]
    third = 1 / 3
    assert gradient(ops.max, x) == [[0.0, third, third], [third, 0.0, 0.0]]
    assert gradient(lambda t: ops.max(t, 1), x, [1.0, 2.0]) == [[0.0, 0.5, 0.5], [2.0, 0.0, 0.0]]
    assert gradient(lambda t: ops.min(t, 0), [[1.0, 2.0], [1.0, 3.0]], [4.0, 5.0]) == [
        [2.0, 5.0],
        [2.0, 0.0],
    ]
    assert gradient(ops.min, [[0.0, 0.0], [0.0, 0.0]]) == [[0.25, 0.25], [0.25, 0.25]]


def test_extremes_of_nan_are_nan_and_pass_no_gradient():
    x = [1.0, np.nan, 2.0]
    assert np.isnan(ops.max(np.array(x)).item())
    assert gradient(ops.max, x) == [0.0, 0.0, 0.0]


def test_norm_at_zero_and_at_the_ends_of_the_range():
    assert gradient(ops.norm, [0.0, 0.0]) == [0.0, 0.0]
    assert gradient(lambda x: ops.norm(x, 1), [[3.0, 4.0], [0.0, 0.0]], [1.0, 1.0]) == [
        [0.6, 0.8],
        [0.0, 0.0],
    ]
    with np.errstate(over="raise", under="raise"):
        assert ops.norm(np.array([3e200, 4e200])).item() == pytest.approx(5e200)
        assert ops.norm(np.array([3e-200, 4e-200])).item() == pytest.approx(5e-200)
        assert ops.norm(np.zeros((2, 0)), 1).numpy().tolist() == [0.0, 0.0]
    assert ops.norm(np.array([np.inf, 1.0])).item() == np.inf
    assert np.isnan(ops.norm(np.array([np.nan, 1.0])).item())


def test_the_gradient_of_the_norm_neither_overflows_nor_loses_digits():
    for x, g in ((3e38, 2.0), (3e-38, 1e-6)):
        leaf = md.tensor([x, 0.0], requires_grad=True)
        ops.norm(leaf).backward(g)
        np.testing.assert_allclose(leaf.grad.numpy(), [g, 0.0], rtol=1e-6)


def test_logsumexp_neither_overflows_nor_makes_nan():
    with np.errstate(over="raise", invalid="raise"):
        assert ops.logsumexp(np.array([1000.0, 1000.0])).item() == 1000 + np.log(2)
        assert gradient(ops.logsumexp, [1000.0, 1000.0]) == pytest.approx([0.5, 0.5])
    with np.errstate(divide="ignore"):
        assert ops.logsumexp(np.array([-np.inf, -np.inf])).item() == -np.inf
    assert ops.logsumexp(np.array([np.inf, 0.0])).item() == np.inf


def test_defaults():
    x = np.arange(6.0).reshape(2, 3)
    for name, value in {
        **{"sum": 15.0, "mean": 2.5, "max": 5.0, "min": 0.0, "var": 35 / 12},
        **{"std": np.sqrt(35 / 12), "norm": np.sqrt(55), "logsumexp": np.log(np.exp(x).sum())},
    }.items():
        op = getattr(ops, name)
        assert op(x).shape == ()
        assert op(x).item() == pytest.approx(value, rel=1e-14)
        assert op(x, keepdims=True).shape == (1, 1)
        assert op(x, 1).shape == op(x, axis=-1).shape == (2,)
        assert op(x, 1, keepdims=True).shape == (2, 1)
        assert op(x, (0, 1)).shape == op(x, ()).shape[2:] == ()
    assert ops.var(x, 1, 1).numpy().tolist() == [1.0, 1.0]
    assert ops.var(x, 1, ddof=1).numpy().tolist() == [1.0, 1.0]
    assert ops.std(x, 1, ddof=1, keepdims=True).numpy().tolist() == [[1.0], [1.0]]
    assert ops.sum(x, 1, True).shape == (2, 1)


def test_var_does_not_see_the_rounding_of_the_mean():
    x = 2**24 + np.array([0, 2, 2, 6], "f4")  # the mean, 2.5 above 2^24, is no float32
    assert ops.var(x).item() == pytest.approx(np.var(x.astype("f8")), rel=1e-6)


def test_var_of_one_element_is_zero():
    assert ops.var(np.array([3.0])).item() == 0.0
    assert gradient(ops.var, [3.0]) == [0.0]


def test_mean_of_nothing_is_nan_and_sums_are_zero():
    assert np.isnan(ops.mean(np.zeros((2, 0)), 1).numpy()).tolist() == [True, True]
    assert ops.sum(np.zeros((2, 0)), 1).numpy().tolist() == [0.0, 0.0]
    assert ops.mean(np.zeros((0, 2)), 1).shape == (0,)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("size", [3, 3000])
def test_many_terms_are_added_in_a_wider_type_and_come_back_in_their_own(dtype, size):
    ones = np.ones(size, dtype)
    for op in (ops.sum, ops.mean, ops.var, ops.std, ops.logsumexp):
        assert op(ones).dtype == dtype and op(ones, 0, keepdims=True).dtype == dtype
    assert (
        ops.sum(ones).item() == size and ops.mean(ones).item() == 1 == ops.cumsum(ones, 0)[0].item()
    )
    small = np.full(size, 0.1, dtype)
    assert ops.mean(small).item() == pytest.approx(0.1, rel=1e-3 if dtype == "float16" else 1e-7)


@pytest.mark.host
def test_sums_of_millions_do_not_stop():
    ones = np.ones((20_000_000, 2), "f4")  # two columns: NumPy adds the rows one after the other
    assert ops.sum(ones, 0).numpy().tolist() == [2e7] * 2
    assert ops.mean(ones, 0).numpy().tolist() == [1, 1]
    with np.errstate(over="ignore"):
        assert ops.sum(np.ones(70_000, "f2")).item() == np.inf  # more than the largest float16
    assert ops.mean(np.ones(100_000, "f2")).item() == 1
    assert ops.mean(np.full(100, 1000, "f2")).item() == 1000  # their sum is no float16
    assert ops.softmax(np.zeros(70_000, "f2")).numpy().max() > 0


def test_the_deviation_of_numbers_whose_squares_are_too_large():
    assert ops.std(np.array([-500, 500], "f2")).item() == 500  # 500² is no float16
    one_of_many = np.array([1000] + 99 * [0], "f2")  # their variance is a float16, 1000² is not
    assert ops.var(one_of_many).item() == pytest.approx(9900, rel=1e-3)


@pytest.mark.parametrize(("dtype", "kind"), [("int32", "i"), ("bool", "i")])
def test_sum_of_integers_is_an_integer(dtype, kind):
    y = ops.sum(np.ones(3, dtype))
    assert (y.item(), y.dtype.kind) == (3, kind)
    assert ops.mean(np.ones(3, dtype)).dtype == np.float32
    # Counting truths, or bytes, must not run over: as NumPy's, they are added as whole numbers.
    for narrow in ("bool", "uint8", "int8", "int32"):
        assert ops.cumsum(np.full(300, 1, narrow), 0).numpy()[-1] == 300


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (
            lambda: ops.sum(np.zeros(3), 1),
            ShapeError,
            r"sum: axis 1 is outside the 1 axes .*\(3,\)",
        ),
        (lambda: ops.sum(np.zeros(3), -2), ShapeError, "sum: axis -2 is outside"),
        (lambda: ops.sum(np.zeros((2, 2)), (0, -2)), ShapeError, "sum: an axis is named twice"),
        (lambda: ops.sum(np.zeros(3), 0.0), DTypeError, "sum: expected an axis that is an int"),
        (lambda: ops.sum(np.zeros(3), True), DTypeError, "sum: expected an axis that is an int"),
        (lambda: ops.mean(np.zeros(3), 1), ShapeError, "mean: axis 1"),
        (lambda: ops.var(np.zeros(3), 1), ShapeError, "var: axis 1"),
        (lambda: ops.var(np.zeros(1), ddof=1), ShapeError, "var: expected more than 1 elements"),
        (lambda: ops.var(np.zeros((2, 0)), 1), ShapeError, r"var: expected more than 0 .*\(2, 0\)"),
        (lambda: ops.max(np.zeros((2, 0)), 1), ShapeError, r"max: expected elements.*\(2, 0\)"),
        (lambda: ops.min(np.zeros(0)), ShapeError, "min: expected elements along axis None"),
        (lambda: ops.max(np.zeros(2), 1), ShapeError, "max: axis 1"),
        (lambda: ops.logsumexp(np.zeros(0)), ShapeError, "logsumexp: expected elements"),
        (lambda: ops.logsumexp(np.zeros(2), 1), ShapeError, "logsumexp: axis 1"),
        (lambda: ops.norm(np.zeros(2), 1), ShapeError, "norm: axis 1"),
        (lambda: ops.cumsum(np.zeros(2), 1), ShapeError, "cumsum: axis 1"),
    ],
)
def test_errors_name_the_call(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_the_gradient_of_many_ties_in_float16_is_shared():
    x = md.tensor(np.zeros(70_000), dtype="float16", requires_grad=True)
    x.max().backward()
    assert x.grad.numpy().sum(dtype=float) == pytest.approx(1, rel=0.05)


def test_sums_of_short_integers_do_not_wrap_around():
    assert ops.sum(np.full(3, 100, np.int8)).numpy() == 300


@pytest.mark.parametrize("scale", [1e-25, 1e-18, 1.0, 1e20, 1e37])
def test_the_spread_of_very_large_and_very_small_numbers(scale):
    x = md.tensor(np.float32([1, 2, 3, 4]) * np.float32(scale), requires_grad=True)
    y = ops.std(x)
    y.backward()
    slopes = np.array([-1.5, -0.5, 0.5, 1.5]) / (4 * np.sqrt(1.25))
    assert y.numpy() == pytest.approx(scale * np.sqrt(1.25), rel=1e-5)
    assert x.grad.numpy() == pytest.approx(slopes, rel=1e-5)


def test_a_variance_beyond_the_range_is_infinite_and_no_nan():
    with np.errstate(over="ignore"):
        spread = np.float32([1, 2, 3, 4]) * np.float32(1e25)
        assert ops.var(spread + np.float32(1e27)).numpy() == np.inf
        assert ops.var(np.full(9, 1e27, np.float32)).numpy() == 0


def test_the_norm_has_no_curvature_at_zero():
    curved = md.hvp(ops.norm, md.tensor([0.0, 0.0]), md.tensor([1.0, 2.0]))
    assert curved.numpy().tolist() == [0, 0]


def test_a_running_sum_keeps_its_digits():
    found = ops.cumsum(np.full(300_000, 0.1, "f"), 0).numpy()
    np.testing.assert_allclose(found[-1], 30_000, rtol=1e-6)  # in float32 it would be 30,021
    assert found.dtype == np.float32
    whole = ops.cumsum(np.full(3, 2**30, "i4"), 0).numpy()
    assert whole[-1] == 3 * 2**30
