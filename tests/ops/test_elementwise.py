"""Kinks by the stated convention, numerics at the ends of the range, defaults, errors."""

import math

import numpy as np
import pytest

import minidl as md
from minidl import ops
from minidl.errors import ConfigError, DeviceError, DTypeError, ShapeError
from tests.ops.gradients import gradient


@pytest.mark.parametrize(
    ("f", "x", "expected"),
    [
        (ops.abs, [-1.0, 0.0, -0.0, 2.0], [-1.0, 0.0, 0.0, 1.0]),
        (lambda x: ops.clip(x, 0.0, 1.0), [-0.1, 0.0, 0.5, 1.0, 1.1], [0.0, 1.0, 1.0, 1.0, 0.0]),
        (lambda x: ops.clip(x, low=0.0), [-0.1, 0.0, 9.0], [0.0, 1.0, 1.0]),
        (lambda x: ops.clip(x, high=0.0), [-9.0, 0.0, 0.1], [1.0, 1.0, 0.0]),
        (lambda x: ops.clip(x, 0.5, 0.5), [0.4, 0.5, 0.6], [0.0, 1.0, 0.0]),
        (lambda x: ops.maximum(x, 1.0), [0.0, 1.0, 2.0], [0.0, 0.5, 1.0]),
        (lambda x: ops.minimum(x, 1.0), [0.0, 1.0, 2.0], [1.0, 0.5, 0.0]),
        (lambda x: ops.maximum(x, x), [3.0], [1.0]),
        (lambda x: ops.power(x, 0.0), [0.0, 2.0, math.inf], [0.0, 0.0, 0.0]),
        (lambda x: ops.power(x, 1.0), [0.0, 2.0], [1.0, 1.0]),
        (lambda x: ops.power(x, 2.0), [0.0, -3.0], [0.0, -6.0]),
        (lambda b: ops.power(0.0, b), [0.0, 1.0, 2.0], [0.0, 0.0, 0.0]),
    ],
)
def test_convention_at_the_kink(f, x, expected):
    with np.errstate(all="raise"):  # 0 is exact; a GPU's power may differ in the last bit
        assert gradient(f, x) == pytest.approx(expected, rel=1e-15, abs=0)


def test_ties_of_maximum_and_minimum_are_halved_on_both_sides():
    a, b = [1.0, 2.0, 3.0], [2.0, 2.0, 2.0]
    assert gradient(ops.maximum, a, b) == [[0.0, 0.5, 1.0], [1.0, 0.5, 0.0]]
    assert gradient(ops.minimum, a, b) == [[1.0, 0.5, 0.0], [0.0, 0.5, 1.0]]


def test_the_slope_of_a_power_by_its_exponent_where_the_base_is_0():
    b = md.tensor([-1.0, 0.0, 2.0], requires_grad=True)
    with np.errstate(all="ignore"):
        ops.power(np.zeros(3, "f"), b).sum().backward()
    assert b.grad.numpy().tolist() == [-np.inf, 0.0, 0.0]


@pytest.mark.host
def test_what_is_kept_may_be_of_any_float_type():
    x = md.as_tensor(np.ones(3, np.longdouble))
    x.requires_grad = True
    ops.where([True, False, True], x, 0.0).sum().backward()
    assert x.grad.numpy().tolist() == [1.0, 0.0, 1.0]
    x = md.as_tensor(np.array([-1, 0, 0.5], np.longdouble))
    x.requires_grad = True
    ops.relu(x).sum().backward()
    assert x.grad.numpy().tolist() == [0.0, 0.0, 1.0]


def test_the_branch_not_taken_never_spoils_the_gradient():
    with np.errstate(all="ignore"):
        for f in (
            lambda x: ops.where(x.data > 0, ops.log(x), 0.0 * x),
            lambda x: ops.relu(x) * 1.0,
            lambda x: ops.elu(x),
        ):
            assert np.all(np.isfinite(gradient(f, [2.0, 800.0])))
    x = md.tensor([1.0, -1.0], requires_grad=True)
    ops.relu(x).backward([np.inf, np.inf])
    assert x.grad.numpy().tolist() == [np.inf, 0.0]


def test_small_arguments_keep_their_digits():
    tiny = np.array([1e-12])
    assert ops.expm1(tiny).item() == math.expm1(1e-12)
    assert ops.log1p(tiny).item() == math.log1p(1e-12)


def test_clip_has_no_bounds_by_default():
    assert ops.clip(np.array([-1e308, 1e308])).numpy().tolist() == [-1e308, 1e308]


def test_clip_that_is_turned_around():
    with pytest.raises(ConfigError, match=r"clip: expected low <= high, got \[1.0, 0.0\]"):
        ops.clip([0.5], 1.0, 0.0)
    with pytest.raises(ConfigError, match=r"clip: expected low <= high"):
        ops.clip([0.5], float("nan"), 0.0)


@pytest.mark.parametrize(
    "name",
    ["add", "subtract", "multiply", "divide", "power", "maximum", "minimum", "logaddexp", "where"],
)
def test_shapes_that_do_not_broadcast(name):
    op, choice = getattr(ops, name), ([[True]] if name == "where" else [])
    with pytest.raises(ShapeError, match=rf"{name}: .*broadcast.* got \(2,\) and \(3,\)"):
        op(*choice, np.zeros(2), np.zeros(3))


@pytest.mark.parametrize("name", ["exp", "log", "sqrt", "sigmoid", "gelu", "divide", "softplus"])
def test_integers_become_float32(name):
    whole = np.array([1, 2])
    args = (whole, whole) if name == "divide" else (whole,)
    assert getattr(ops, name)(*args).dtype == np.float32


@pytest.mark.parametrize(
    ("name", "value"),
    [("negative", [2, 0, -3]), ("abs", [2, 0, 3]), ("square", [4, 0, 9]), ("relu", [0, 0, 3])],
)
def test_integers_stay_integers_where_the_value_is_one(name, value):
    y = getattr(ops, name)(np.array([-2, 0, 3]))
    assert y.dtype.kind == "i"
    assert y.numpy().tolist() == value


def test_two_integers_make_an_integer():
    a, b = np.array([5, 2]), np.array([3, 4])
    for op, value in (
        *((ops.add, [8, 6]), (ops.subtract, [2, -2]), (ops.multiply, [15, 8])),
        *((ops.maximum, [5, 4]), (ops.minimum, [3, 2]), (ops.power, [125, 16])),
    ):
        assert op(a, b).dtype.kind == "i"
        assert op(a, b).numpy().tolist() == value


def test_where_takes_any_condition():
    x = np.array([1.0, 2.0])
    for condition in ([True, False], [1, 0], md.tensor([3.0, 0.0]), np.array([True, False])):
        assert ops.where(condition, x, -x).numpy().tolist() == [1.0, -2.0]
    assert gradient(lambda a, b: ops.where([True, False], a, b), [1.0, 2.0], [3.0, 4.0]) == [
        [1.0, 0.0],
        [0.0, 1.0],
    ]


@pytest.mark.parametrize(
    "op",
    [
        *(ops.add, ops.multiply, ops.divide, ops.maximum, ops.power, ops.matmul, ops.linear),
        lambda a, b: ops.linear(a, b, b[0]),
        lambda a, b: ops.linear(b, b, a[0]),
        lambda a, b: ops.concatenate([a, b]),
        lambda a, b: ops.stack([a, b]),
        lambda a, b: ops.einsum("ij,jk", a, b),
        lambda a, b: ops.tensordot(a, b, 1),
    ],
)
@pytest.mark.parametrize("kind", ["int64", "int8", "bool"])
def test_integers_never_promote_floats(op, kind):
    whole, real = np.ones((2, 2), kind), np.full((2, 2), 2.0, "float32")
    assert op(whole, real).dtype == op(real, whole).dtype == np.float32
    np.testing.assert_array_equal(op(whole, real).numpy(), op(whole.astype("f"), real).numpy())


@pytest.mark.host
@pytest.mark.parametrize(
    "op", [ops.add, ops.where, ops.matmul, ops.einsum, ops.concatenate, ops.conv2d]
)
def test_tensors_on_two_devices_are_refused(op, monkeypatch):
    place = property(lambda self: "cuda" if (self.data == 7).all() else "cpu")
    monkeypatch.setattr(md.Tensor, "device", place)
    a, b = md.tensor(np.zeros((1, 1, 1, 1))), md.tensor(np.full((1, 1, 1, 1), 7.0))
    for pair in ((a, b), (b, a)):
        args = {ops.where: (True, *pair), ops.einsum: ("abcd,abcd->a", *pair)}.get(op, pair)
        args = (pair,) if op is ops.concatenate else args
        with pytest.raises(DeviceError, match=r"on one device, got \w+ and \w+; move them"):
            op(*args)


@pytest.mark.host
def test_clip_takes_arrays_that_fit_and_keeps_whole_numbers():
    x = np.array([[-1.0, 0.5, 9.0], [2.0, -3.0, 4.0]], "f4")
    low, high = np.array([0.0, 0.0, 5.0]), np.array([[1.0], [3.0]])
    y = ops.clip(x, low, high + 4)
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y.numpy(), np.clip(x, low, high + 4))
    with pytest.raises(md.errors.ShapeError, match=r"clip: expected a (bound|limit)"):
        ops.clip(x[0], np.zeros((2, 3)))
    big = np.array([2**53 + 1, -5])
    assert ops.clip(big, 0).numpy().tolist() == [2**53 + 1, 0]
    assert ops.clip(big, None, 7).numpy().tolist() == [7, -5]
    assert ops.clip(x, np.float64(0), np.float64(1)).dtype == np.float32


@pytest.mark.parametrize("dtype", ["int64", "uint8"])
def test_clip_of_integers_keeps_the_bounds_as_they_are(dtype):
    x = np.array([1, 20, 200], dtype)
    for low, high in [
        (None, np.array(np.inf)),
        (np.array([0, 0, 0]), np.array([300, 300, 300])),
        (np.array([1.5, 1.5, 1.5]), None),
        (np.array(-1), np.array(100)),
    ]:
        found = ops.clip(md.tensor(x), low, high).numpy()
        np.testing.assert_array_equal(found, np.clip(x, low, high))


def test_clip_of_floats_keeps_their_type():
    x = md.tensor([1.0, 2.0])
    y = ops.clip(x, np.array(1.5), np.array([np.inf, 1e30]))
    assert y.dtype == x.dtype
    assert y.numpy().tolist() == [1.5, 2.0]


def test_where_names_shapes_that_do_not_broadcast():
    x = md.tensor([[1.0, 2.0], [3.0, 4.0]])
    with pytest.raises(ShapeError, match=r"where: .*\(3,\), \(2, 2\) and \(2, 2\)"):
        ops.where(np.ones(3, bool), x, x)
    assert ops.where(np.array([[True], [False]]), 1.0, 2.0).numpy().tolist() == [[1.0], [2.0]]


@pytest.mark.parametrize("number", [10**30, 2**64, -(10**400)])
def test_a_number_beyond_its_type_is_refused(number):
    with pytest.raises(DTypeError, match="within the range of integers of 64 bits, got"):
        md.tensor([1]) * number
    if abs(number) > 1e300:
        with pytest.raises(DTypeError, match="within the range of float32, got"):
            md.tensor([1.0]) * number
