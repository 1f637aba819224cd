"""grad, value_and_grad, vjp, jvp, hvp, jacobian: closed forms, nesting, closures, errors."""

import itertools
import math

import numpy as np
import pytest

import minidl as md
from minidl.errors import GradientError, ShapeError
from tests.device import fetch

A = np.array([[1.0, 2.0, 0.5], [-1.0, 0.5, 3.0], [2.0, -2.0, 1.0]])
X = np.array([0.3, -0.7, 1.1])
V = np.array([1.0, 2.0, -1.0])


def close(found, expected):
    np.testing.assert_allclose(fetch(found), expected, rtol=1e-10, atol=1e-12)


def quadratic(x):
    """½ xᵀ A x, with gradient ½(A + Aᵀ)x."""
    return 0.5 * (x * (A @ x)).sum()


S = (A + A.T) / 2


def test_closed_forms():
    close(md.grad(quadratic)(X), S @ X)
    value, slope = md.value_and_grad(quadratic)(X)
    close(value, 0.5 * X @ A @ X)
    close(slope, S @ X)
    close(md.hvp(quadratic, X, V), S @ V)
    close(md.jacobian(md.grad(quadratic))(X), S)
    close(md.jacobian(lambda x: A @ x)(X), A)
    close(md.jacobian(lambda x: A @ x, X), A)
    y, change = md.jvp(lambda x: md.ops.sin(A @ x), X, V)
    close(y, np.sin(A @ X))
    close(change, np.cos(A @ X) * (A @ V))
    y, pull = md.vjp(lambda x: md.ops.sin(A @ x), X)
    close(y, np.sin(A @ X))
    close(pull(V), A.T @ (V * np.cos(A @ X)))
    close(pull(2 * V), 2 * A.T @ (V * np.cos(A @ X)))


def test_derivatives_of_every_order():
    f = md.ops.sin
    for k in range(5):
        close(f(md.tensor(0.4, dtype="float64")), math.sin(0.4 + k * math.pi / 2))
        f = md.grad(f)


def along(kind, f):
    """A scalar function of a scalar, differentiated once by each of the tools."""
    one = np.array(1.0)
    return {
        "grad": md.grad(f),
        "value_and_grad": lambda x: md.value_and_grad(f)(x)[1],
        "vjp": lambda x: md.vjp(f, x)[1](one),
        "jvp": lambda x: md.jvp(f, x, one)[1],
        "jacobian": md.jacobian(f),
    }[kind]


KINDS = ("grad", "value_and_grad", "vjp", "jvp", "jacobian")
PAIRS = list(itertools.product(KINDS, KINDS))


@pytest.mark.parametrize(("outer", "inner"), PAIRS)
def test_every_tool_differentiates_every_other(outer, inner):
    def f(x):
        return md.ops.exp(2.0 * x) * x

    x = np.array(0.3)
    close(along(inner, f)(x), math.exp(0.6) * 1.6)
    close(along(outer, along(inner, f))(x), math.exp(0.6) * 5.2)
    third = along("grad", along(outer, along(inner, f)))
    close(third(x), math.exp(0.6) * (12 + 8 * 0.3))


@pytest.mark.parametrize("kind", KINDS)
def test_hvp_of_a_derivative_and_the_derivative_of_an_hvp(kind):
    def f(x):
        return x**4.0

    x, one = np.array(2.0), np.array(1.0)
    close(md.hvp(along(kind, f), x, one), 24 * 2.0)
    close(along(kind, lambda z: md.hvp(f, z, one))(x), 24 * 2.0)


@pytest.mark.parametrize(("outer", "inner"), PAIRS)
def test_an_inner_derivative_sees_the_outer_variable_in_its_closure(outer, inner):
    """d/dx [ d/dy x²y³ ] at y = 2 is 24x."""

    def f(x):
        return along(inner, lambda y: x * x * y**3.0)(np.array(2.0))

    close(along(outer, f)(np.array(5.0)), 120.0)


def test_perturbations_are_not_confused():
    """The classic trap: d/dx [x · d/dy (x + y)] at 1 is 1, not 2."""
    one = np.array(1.0)
    for kind in KINDS:
        inner = lambda x, kind=kind: x * along(kind, lambda y: x + y)(one)  # noqa: E731
        close(along(kind, inner)(one), 1.0)


def test_closures_over_tensors_that_need_a_gradient():
    w = md.tensor([2.0, 3.0], dtype="float64", requires_grad=True)
    x = np.array([1.0, 5.0])
    slope = md.grad(lambda t: (w * t * t).sum())(x)
    assert slope.requires_grad
    close(slope, 2 * np.array([2.0, 3.0]) * x)
    slope.sum().backward()
    close(w.grad, 2 * x)


def test_arguments_of_the_caller_stay_in_the_callers_graph():
    x = md.tensor([2.0], dtype="float64", requires_grad=True)
    slope = md.grad(lambda t: (t**3.0).sum())(x * 2.0)
    (slope * slope).sum().backward()  # d/dx (3(2x)²)² = 144·4x³
    close(x.grad, [144 * 4 * 8.0])
    value, _ = md.value_and_grad(lambda t: (t * t).sum())(x)
    x.grad = None
    value.backward()
    close(x.grad, [4.0])


def test_results_stand_alone_when_nobody_asked():
    value, slope = md.value_and_grad(quadratic)(X)
    assert not value.requires_grad
    assert not slope.requires_grad
    y, pull = md.vjp(lambda x: x * x, X)
    assert not y.requires_grad
    assert not pull(V).requires_grad
    y, change = md.jvp(lambda x: x * x, X, V)
    assert not y.requires_grad
    assert not change.requires_grad


def test_arguments_are_not_marked():
    x = md.tensor(X, dtype="float64")
    md.grad(quadratic)(x)
    assert not x.requires_grad
    assert x.grad is None
    z = md.tensor(X, dtype="float64", requires_grad=True)
    md.grad(quadratic)(z)
    assert z.grad is None


def test_argnums():
    def f(a, b, c):
        return (a * a * b + c).sum()

    args = (np.array([2.0]), np.array([3.0]), np.array([1.0]))
    close(md.grad(f)(*args), [12.0])
    close(md.grad(f, 1)(*args), [4.0])
    close(md.grad(f, argnums=-1)(*args), [1.0])
    close(md.grad(f, argnums=-3)(*args), [12.0])
    first, second = md.grad(f, (1, 0))(*args)
    close(first, [4.0])
    close(second, [12.0])
    (only,) = md.grad(f, (2,))(*args)
    close(only, [1.0])
    value, both = md.value_and_grad(f, (0, 1))(*args)
    close(value, 13.0)
    assert isinstance(both, tuple)
    close(md.jacobian(lambda a, b: a * b, *args[:2], argnums=1), [[2.0]])
    close(md.jacobian(lambda a, b: a * b, argnums=1)(*args[:2]), [[2.0]])
    _, pull = md.vjp(f, *args)
    assert len(pull(np.array(1.0))) == 3
    _, change = md.jvp(f, args, tuple(np.ones(1) for _ in args))
    close(change, 17.0)


def test_an_argument_that_f_ignores_has_gradient_zero():
    def f(a, b):
        return (a * 1.0).sum()

    first, second = md.grad(f, (0, 1))(X, V)
    close(first, np.ones(3))
    close(second, np.zeros(3))
    close(md.jvp(lambda x: md.tensor([1.0, 2.0]), X, V)[1], [0.0, 0.0])
    close(md.grad(lambda x: md.tensor(1.0))(X), np.zeros(3))
    close(md.hvp(lambda x: x.sum(), X, V), np.zeros(3))
    close(md.jacobian(lambda x: md.tensor([1.0, 2.0]))(X), np.zeros((2, 3)))


def test_the_same_tensor_twice():
    x = md.tensor([3.0], dtype="float64")
    first, second = md.grad(lambda a, b: (a * a * b).sum(), (0, 1))(x, x)
    close(first, [18.0])
    close(second, [9.0])


def test_under_no_grad_functions_still_differentiate():
    x = md.tensor([3.0], dtype="float64", requires_grad=True)
    with md.no_grad():
        slope = md.grad(lambda t: (t**3.0).sum())(x)
        second = md.grad(md.grad(lambda t: (t**3.0).sum()))(x)
        assert not md.grad(lambda t: (t * x).sum())(x).requires_grad
    close(slope, [27.0])
    close(second, [18.0])
    assert not slope.requires_grad


def test_no_grad_inside_the_function_is_a_constant():
    def f(x):
        with md.no_grad():
            constant = x * x
        return (constant * x).sum()

    close(md.grad(f)(np.array([3.0])), [9.0])


def test_shapes_of_jacobians():
    x = np.ones((2, 3))
    assert md.jacobian(lambda t: t.sum(0))(x).shape == (3, 2, 3)
    assert md.jacobian(lambda t: t.sum())(x).shape == (2, 3)
    assert md.jacobian(lambda t: t[:0])(x).shape == (0, 3, 2, 3)
    assert md.jacobian(lambda t: t * 2.0)(np.array(1.0)).shape == ()
    assert md.jacobian(lambda t: t[:0])(x).dtype == np.float64


def test_lists_and_numbers_are_arguments_too():
    close(md.grad(lambda t: (t * t).sum())([1.0, 2.0]), [2.0, 4.0])
    close(md.grad(lambda t: t * t)(3.0), 6.0)
    close(md.hvp(lambda t: (t**3.0).sum(), [1.0, 2.0], [1.0, 1.0]), [6.0, 12.0])


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: md.grad(quadratic, 1)(X), ShapeError, r"grad: argnums \(1,\) asks for more than"),
        (lambda: md.grad(quadratic, -2)(X), ShapeError, "grad: argnums"),
        (lambda: md.grad(quadratic)([1, 2, 3]), GradientError, "argument 0 has dtype int64"),
        (lambda: md.grad(lambda x: 3.0)(X), GradientError, "expected the function to return a Ten"),
        (
            lambda: md.grad(lambda x: x)(X),
            GradientError,
            r"grad: expected a scalar, got shape \(3,",
        ),
        (
            lambda: md.vjp(lambda x: x, X)[1](V[:2]),
            ShapeError,
            r"grad: expected a gradient of shape \(3,\), got \(2,\)",
        ),
        (
            lambda: md.jvp(lambda x: x, X, V[:2]),
            ShapeError,
            r"jvp: expected tangents of shapes \[\(3,\)\], got \[\(2,\)\]",
        ),
        (
            lambda: md.jvp(lambda x, y: x + y, (X, X), (V,)),
            ShapeError,
            r"jvp: expected tangents of shapes \[\(3,\), \(3,\)\], got \[\(3,\)\]",
        ),
        (
            lambda: md.hvp(quadratic, X, V[:2]),
            ShapeError,
            r"hvp: expected v of shape \(3,\), got \(2,\)",
        ),
    ],
)
def test_errors(call, error, words):
    with pytest.raises(error, match=words):
        call()


@pytest.mark.parametrize("kinds", [("float32", "float64"), ("float64", "float32")])
def test_a_gradient_has_the_dtype_of_its_input_whatever_stood_beside_it(kinds):
    a, b = (np.array([2.0, 3.0], kind) for kind in kinds)
    for x, g in zip((a, b), md.grad(lambda x, y: (x * y).sum(), (0, 1))(a, b), strict=True):
        assert g.dtype == x.dtype


def test_the_gradient_of_a_dict_of_tensors_is_a_dict():
    def loss(layers, x, power=2):
        return ((x * layers["a"]["w"] + layers["b"]) ** power).sum()

    layers = {"a": {"w": np.array([1.0, 2.0])}, "b": np.array([0.5, -1.0])}
    x = np.array([3.0, 4.0])
    for power in (2, 3):
        y, (found, by_x) = md.value_and_grad(loss, (0, 1))(layers, x, power=power)
        inner = x * layers["a"]["w"] + layers["b"]
        slope = power * inner ** (power - 1)
        np.testing.assert_allclose(y.item(), (inner**power).sum())
        np.testing.assert_allclose(fetch(found["a"]["w"]), slope * x)
        np.testing.assert_allclose(fetch(found["b"]), slope)
        np.testing.assert_allclose(fetch(by_x), slope * layers["a"]["w"])
    assert set(md.grad(loss)(layers, x)) == {"a", "b"}


def test_argnums_may_be_a_numpy_integer():
    assert md.grad(lambda x, y: x * y * y, np.int64(1))(2.0, 3.0).item() == 12.0


def test_gradients_belong_to_their_owners_alone():
    a, b = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    for f in (lambda x, y: (x + y).sum(), lambda x, y: ((x + y) ** 2).sum()):
        first, second = md.grad(f, (0, 1))(a, b)
        expected = fetch(second).copy()
        first.data[...] = 99  # can be written, and nobody else sees it
        np.testing.assert_array_equal(fetch(second), expected)
    found = md.grad(lambda d: (d["a"] + d["b"]).sum())({"a": a, "b": b})
    found["a"].data[...] = 0
    assert fetch(found["b"]).tolist() == [1.0, 1.0]
