"""NumPy's functions on tensors keep the gradient, or say that they cannot."""

import inspect

import numpy as np
import pytest

import minidl as md
from minidl.errors import GradientError, ShapeError
from tests.device import fetch


def leaf(*values):
    return md.tensor(list(values), dtype="float64", requires_grad=True)


WITH_GRADIENT = {
    "np.exp": (lambda x: np.exp(x), [np.e, np.e**2]),
    "np.multiply": (lambda x: np.multiply(3.0, x), [3, 3]),
    "array * t": (lambda x: np.array([2.0, 5.0]) * x, [2, 5]),
    "array - t": (lambda x: np.ones(2) - x, [-1, -1]),
    "array / t": (lambda x: np.ones(2) / x, [-1, -0.25]),
    "array ** t": (lambda x: np.full(2, np.e) ** x, [np.e, np.e**2]),
    "array @ t": (lambda x: np.array([[1.0, 2.0], [3.0, 4.0]]) @ x, [4, 6]),
    "np.absolute": (lambda x: np.absolute(-x), [1, 1]),
    "np.maximum": (lambda x: np.maximum(x, 1.5), [0, 1]),
    "np.sum": (lambda x: np.sum(x * x), [2, 4]),
    "np.mean": (lambda x: np.mean(x, axis=0, keepdims=True), [0.5, 0.5]),
    "np.std": (lambda x: np.std(x, ddof=1), [-np.sqrt(0.5), np.sqrt(0.5)]),
    "np.max": (lambda x: np.max(x), [0, 1]),
    "np.stack": (lambda x: np.stack([x, 2 * x], axis=1), [3, 3]),
    "np.concatenate": (lambda x: np.concatenate([x[:1], x], axis=0), [2, 1]),
    "np.where": (lambda x: np.where(np.array([True, False]), x, 0.0), [1, 0]),
    "np.dot": (lambda x: np.dot(x, x), [2, 4]),
    "np.linalg.norm": (lambda x: np.linalg.norm(x), [1 / 5**0.5, 2 / 5**0.5]),
    "np.einsum": (lambda x: np.einsum("i,i->", x, x), [2, 4]),
    "np.reshape": (lambda x: np.reshape(x, (2, 1)) * 2, [2, 2]),
    "np.transpose": (lambda x: np.transpose(x.reshape(1, 2)) * 2, [2, 2]),
    "np.clip": (lambda x: np.clip(x, 0.0, 1.5), [1, 0]),
}


@pytest.mark.host
@pytest.mark.parametrize("name", WITH_GRADIENT)
def test_a_function_that_is_an_operation_keeps_the_gradient(name):
    function, expected = WITH_GRADIENT[name]
    x = leaf(1.0, 2.0)
    y = function(x)
    assert isinstance(y, md.Tensor)
    y.sum().backward()
    np.testing.assert_allclose(fetch(x.grad), expected, rtol=1e-12)


@pytest.mark.host
@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("np.log2", np.log2),
        ("np.arctan2", lambda x: np.arctan2(x, 1.0)),
        ("np.convolve", lambda x: np.convolve(x, x)),
        ("np.linalg", lambda x: np.linalg.inv(x.reshape(1, 2).mT @ x.reshape(1, 2))),
        ("np.add.reduce", np.add.reduce),
        ("np.median", np.median),
    ],
)
def test_a_function_without_an_operation_is_refused_where_a_gradient_would_be_lost(name, function):
    x = leaf(1.0, 2.0)
    with pytest.raises(GradientError, match=name if name != "np.linalg" else "np.inv"):
        function(x)
    with md.no_grad():
        if name != "np.linalg":
            function(x)
            function(x.detach())


@pytest.mark.host
def test_an_array_cannot_take_in_a_tensor_that_needs_a_gradient():
    array = np.zeros(2)
    with pytest.raises(GradientError, match=r"np\.add"):
        array += leaf(1.0, 2.0)
    array += leaf(1.0, 2.0).detach()
    assert array.tolist() == [1, 2]


@pytest.mark.host
def test_questions_about_values_are_answered():
    x = leaf(1.0, 2.0)
    assert np.shape(x) == (2,) and np.ndim(x) == 1 and np.argmax(x) == 1
    assert np.allclose(x, [1, 2]) and np.isfinite(x).all() and np.array_equal(x, x)
    np.testing.assert_allclose(x, [1, 2])


@pytest.mark.host
def test_an_option_that_the_operation_lacks_is_named():
    with pytest.raises(TypeError, match=r"np\.sum: of a tensor it .*dtype.*md\.ops"):
        np.sum(leaf(1.0), dtype=np.float64)


def test_a_list_of_tensors_that_need_a_gradient_is_no_array():
    for make in (md.tensor, md.as_tensor):
        for nested in ([leaf(1.0), leaf(2.0)], [[1.0], [leaf(2.0)]], (0.0, leaf(1.0)[0])):
            with pytest.raises(GradientError, match=r"use|join them with\s+md.ops.stack"):
                make(nested)


@pytest.mark.host
def test_a_list_of_tensors_without_a_gradient_is_an_array():
    assert md.tensor([md.tensor(1.0), md.tensor(2.0)]).shape == (2,)


def test_errors_are_the_operations_own():
    with pytest.raises(ShapeError, match="add: expected shapes that broadcast"):
        leaf(1.0, 2.0) + leaf(1.0, 2.0, 3.0)


SHAPE = list(inspect.signature(np.reshape).parameters)[1]  # NumPy 2.0 calls it newshape
SAME_OR_REFUSED = {
    "norm of order 1": lambda t: np.linalg.norm(t, 1),
    "norm along an axis": lambda t: np.linalg.norm(t, axis=1),
    "dot of matrices": lambda t: np.dot(t, np.ones((3, 2))),
    "dot with a stack": lambda t: np.dot(t, np.ones((2, 3, 4))),
    "dot with a number": lambda t: np.dot(t, 2.0),
    "mean with a dtype": lambda t: np.mean(t, 0, np.float64),
    "sum with keepdims by place": lambda t: np.sum(t, 0, None, None, True),
    "std with ddof by place": lambda t: np.std(t, 0, None, None, 1),
    "std with ddof": lambda t: np.std(t, axis=0, ddof=1),
    "pad with a pair": lambda t: np.pad(t, (1, 2)),
    "pad with a value": lambda t: np.pad(t, 1, constant_values=7.0),
    "pad by reflection": lambda t: np.pad(t, 1, mode="reflect"),
    "concatenate flattened": lambda t: np.concatenate([t, t], axis=None),
    "transpose with axes": lambda t: np.transpose(t, axes=(1, 0)),
    "reshape by name": lambda t: np.reshape(t, **{SHAPE: (3, 2)}),
    "cumsum flattened": lambda t: np.cumsum(t),
    "expand two": lambda t: np.expand_dims(t, (0, 1)),
    "roll flattened": lambda t: np.roll(t, 1),
    "where of one": lambda t: np.where(t),
    "max with initial": lambda t: np.max(t, initial=100.0),
    "clip by name": lambda t: np.clip(t, a_min=0.0, a_max=1.0),
    "size along an axis": lambda t: np.size(t, axis=1),
    "squeeze": lambda t: np.squeeze(t[None], 0),
    "outer": lambda t: np.outer(t, t),
}


@pytest.mark.host
@pytest.mark.parametrize("name", SAME_OR_REFUSED)
def test_arguments_mean_what_they_mean_in_numpy_or_are_refused(name):
    x = np.random.default_rng(0).normal(size=(2, 3))
    call = SAME_OR_REFUSED[name]
    try:
        found = call(md.tensor(x, dtype="float64", requires_grad=True))
    except (TypeError, md.errors.MinidlError) as error:
        assert "np." in str(error) or "md.ops" in str(error) or ":" in str(error)
        return
    np.testing.assert_allclose(np.asarray(getattr(found, "data", found)), call(x), rtol=1e-12)
    assert np.shape(found) == np.shape(call(x))


@pytest.mark.host
def test_numpy_never_writes_into_a_tensor_that_is_trained():
    p = md.nn.Parameter([1.0, 2.0])
    with md.no_grad():
        for write in (
            lambda: np.subtract(p, 50, out=p),
            lambda: np.copyto(p, 5.0),
            lambda: np.add.at(p, [0], 1.0),
            lambda: np.put(p, [0], [7.0]),
        ):
            with pytest.raises((ValueError, GradientError)):
                write()
    assert p.numpy().tolist() == [1, 2] and not np.asarray(p).flags.writeable
