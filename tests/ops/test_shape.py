"""Where values go, defaults, views, and errors of the operations that move them."""

from array import array

import numpy as np
import pytest

import minidl as md
from minidl import ops
from minidl.errors import ConfigError, DTypeError, ShapeError
from tests.device import shares

X = np.arange(24.0).reshape(2, 3, 4)


def gradient(f, x, u=None):
    leaf = md.tensor(x, dtype="float64", requires_grad=True)
    y = f(leaf)
    y.backward(np.ones(y.shape) if u is None else u)
    return leaf.grad.numpy().tolist()


def test_shapes_and_axes_come_as_one_tuple_or_several_ints():
    x = md.tensor(X)
    assert x.reshape(6, 4).shape == x.reshape((6, 4)).shape == x.reshape([6, -1]).shape == (6, 4)
    assert x.transpose(1, 0, 2).shape == x.transpose((1, 0, 2)).shape == (3, 2, 4)
    assert ops.broadcast_to(x, 5, 2, 3, 4).shape == ops.broadcast_to(x, (5, 2, 3, 4)).shape


def test_defaults():
    assert ops.flatten(X).shape == (24,)
    assert ops.flatten(X, 1).shape == (2, 12)
    assert ops.flatten(X, start=2).shape == (2, 3, 4)
    assert ops.transpose(X).shape == ops.transpose(X, None).shape == (4, 3, 2)
    assert ops.squeeze(X[:1, :, :1]).shape == (3,)
    assert ops.squeeze(X[:1, :, :1], 0).shape == (3, 1)
    assert ops.squeeze(X[:1, :, :1], (0, -1)).shape == (3,)
    assert ops.pad([1.0], 1).numpy().tolist() == [0.0, 1.0, 0.0]
    assert ops.pad([1.0], 1, 7.0).numpy().tolist() == [7.0, 1.0, 7.0]
    assert ops.pad(X[0, :1, :1], (1, (0, 2))).shape == (3, 3)
    assert ops.flip([[1.0, 2.0], [3.0, 4.0]]).numpy().tolist() == [[4.0, 3.0], [2.0, 1.0]]
    ones = np.ones((2, 2))
    assert ops.tril(ones).numpy().tolist() == [[1.0, 0.0], [1.0, 1.0]]
    assert ops.triu(ones).numpy().tolist() == [[1.0, 1.0], [0.0, 1.0]]
    assert ops.concatenate([ones, ones]).shape == (4, 2)
    assert ops.concatenate([ones, ones], -1).shape == (2, 4)
    assert ops.stack([ones, ones, ones]).shape == (3, 2, 2)
    assert ops.stack([ones, ones, ones], axis=-1).shape == (2, 2, 3)


def test_triangles_drop_what_is_not_finite():
    x = np.array([[1.0, np.inf], [np.nan, 2.0]])
    assert ops.tril(np.array([[1.0, np.inf], [3.0, 2.0]])).numpy().tolist() == [[1, 0], [3, 2]]
    assert ops.triu(x).numpy().tolist() == [[1, np.inf], [0, 2]]


def test_reshapes_and_slices_are_views():
    x = md.tensor(X)
    for y in (x.reshape(4, 6), x.T, x.mT, x[1:], x.squeeze(), x.flatten(), x[None, ..., ::-1]):
        assert shares(x.data, y.data)
    assert not shares(x.data, x[np.array([0, 1])].data)


def test_values_taken_twice_add_up():
    u = [1.0, 10.0, 100.0, 1000.0]
    assert gradient(lambda x: x[np.array([0, 0, 1, 0])], [5.0, 6.0, 7.0], u) == [1011.0, 100.0, 0.0]
    assert gradient(lambda x: x[[0, 0, 1, 0]], [5.0, 6.0], u) == [1011.0, 100.0]
    assert gradient(lambda x: x[np.array([True, False, True])], [5.0, 6.0, 7.0], [1.0, 2.0]) == [
        1.0,
        0.0,
        2.0,
    ]
    assert gradient(lambda x: x[[0, 1], [1, 1]], np.zeros((2, 2)), [3.0, 4.0]) == [[0, 3], [0, 4]]


@pytest.mark.parametrize("index", [np.array([0, 0]), np.array([True, False, False])])
def test_an_index_that_is_changed_afterwards_leaves_the_gradient_where_the_value_was(index):
    index, x = index.copy(), md.tensor([5.0, 6.0, 7.0], requires_grad=True)
    y = x[index]
    index[:] = 1
    y.sum().backward()
    assert x.grad.numpy().tolist() == [y.size, 0.0, 0.0]


def test_a_border_around_a_number_is_none():
    assert ops.pad(md.tensor(3.0), 2).item() == 3.0


def test_an_index_that_is_a_tensor():
    x = md.tensor([5.0, 6.0, 7.0])
    assert x[md.tensor([2, 0])].numpy().tolist() == [7.0, 5.0]
    assert x[x > 5.5].numpy().tolist() == [6.0, 7.0]
    assert x[md.tensor(1)].item() == 6.0


def test_astype_carries_the_gradient_back_in_the_inputs_dtype():
    x = md.tensor([1.0, 2.0], requires_grad=True)
    y = x.astype("float64")
    assert y.dtype == np.float64
    y.sum().backward()
    assert x.grad.dtype == np.float32
    assert not x.astype(int).requires_grad
    assert x.astype(bool).dtype == np.bool_


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: ops.astype(X, "U5"), DTypeError, "astype: expected a numeric dtype, got 'U5'"),
        (lambda: ops.reshape(X, 5, 5), ShapeError, r"reshape: .*24 elements, got \(5, 5\) for \(2"),
        (lambda: ops.reshape(X, -1, -1), ShapeError, "reshape: "),
        (lambda: ops.reshape(X, "a"), ShapeError, "reshape: "),
        (lambda: ops.transpose(X, 0, 1), ShapeError, r"transpose: expected all 3 axes.*\(0, 1\)"),
        (lambda: ops.transpose(X, 0, 1, 1), ShapeError, "transpose: an axis is named twice"),
        (lambda: ops.transpose(X, 0, 1, 3), ShapeError, "transpose: axis 3"),
        (lambda: ops.moveaxis(X, 0, 3), ShapeError, "moveaxis: axis 3"),
        (lambda: ops.moveaxis(X, 3, 0), ShapeError, "moveaxis: axis 3"),
        (lambda: ops.swapaxes(X, 0, 3), ShapeError, "swapaxes: axis 3"),
        (lambda: ops.swapaxes(X, -4, 0), ShapeError, "swapaxes: axis -4"),
        (
            lambda: ops.expand_dims(X, 4),
            ShapeError,
            r"expand_dims: axis 4 is outside .*\(2, 3, 4\)",
        ),
        (lambda: ops.expand_dims(X, -5), ShapeError, "expand_dims: axis -5"),
        (lambda: ops.squeeze(X, 0), ShapeError, "squeeze: expected length 1 along axis 0"),
        (lambda: ops.squeeze(X, 3), ShapeError, "squeeze: axis 3"),
        (lambda: ops.broadcast_to(X, 2, 3, 5), ShapeError, r"broadcast_to: .* to \(2, 3, 5\)"),
        (lambda: ops.pad(X, [1, 1]), ShapeError, r"pad: expected 3 widths >= 0 .*\[1, 1\]"),
        (lambda: ops.pad(X, -1), ShapeError, "pad: expected 3 widths >= 0"),
        (lambda: ops.pad(X, 1.5), ShapeError, "pad: expected 3 widths >= 0"),
        (lambda: ops.pad(X, [(1, 1.0), 0, 0]), ShapeError, "pad: expected 3 widths >= 0"),
        (lambda: ops.roll(X, (1, 1), 0), ConfigError, r"roll: expected shift an int, got \(1, 1\)"),
        (lambda: ops.pad(X, [(1, -1), 0, 0]), ShapeError, "pad: expected 3 widths >= 0"),
        (lambda: ops.pad(X, [(-1, 1), 0, 0]), ShapeError, "pad: expected 3 widths >= 0"),
        (lambda: ops.pad(X, [(1, 1, 1), 0, 0]), ShapeError, "pad: expected 3 widths >= 0"),
        (lambda: ops.flip(X, 3), ShapeError, "flip: axis 3"),
        (lambda: ops.roll(X, 1, 3), ShapeError, "roll: axis 3"),
        (
            lambda: ops.tril(np.zeros(3)),
            ShapeError,
            r"tril: expected at least 2 axes, got .*\(3,\)",
        ),
        (lambda: ops.triu(np.zeros(3)), ShapeError, "triu: expected at least 2 axes"),
        (lambda: ops.concatenate([]), ShapeError, "concatenate: expected at least one tensor"),
        (lambda: ops.concatenate([X], 3), ShapeError, "concatenate: axis 3"),
        (
            lambda: ops.concatenate([X, X[0]]),
            ShapeError,
            r"concatenate: .*axis 0, got \[\(2, 3, 4\)",
        ),
        (lambda: ops.stack([X, X[0]]), ShapeError, "stack: expected equal shapes"),
        (lambda: ops.stack([]), ShapeError, "stack: expected at least one tensor"),
        (lambda: md.tensor(X)[5], ShapeError, r"getitem: .*5.*shape \(2, 3, 4\)"),
        (lambda: md.tensor(X)[0, 0, 0, 0], ShapeError, "getitem: .*too many indices"),
        (lambda: md.tensor(X)["a"], ShapeError, "getitem: "),
    ],
)
def test_errors_name_the_call(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_triangles_of_complex_numbers_and_bools_keep_their_dtype():
    z = np.array([[1 + 2j, 3j], [4 + 1j, 5.0]])
    assert ops.triu(z).numpy().tolist() == [[1 + 2j, 3j], [0, 5.0]]
    assert ops.triu(z).dtype == z.dtype
    assert ops.tril(z != 0).numpy().tolist() == [[True, False], [True, True]]
    assert ops.tril(z != 0).dtype == np.bool_


def test_a_list_that_is_changed_after_its_use_as_an_index_changes_no_gradient():
    x, order = md.tensor([1.0, 2.0, 3.0], requires_grad=True), [0, 1, 2]
    y = (x[order] * md.tensor([1.0, 10.0, 100.0])).sum()
    order.reverse()
    y.backward()
    assert x.grad.numpy().tolist() == [1, 10, 100]


def test_flatten_needs_an_axis_to_start_at():
    assert ops.flatten(3.0).shape == (1,)
    for start in (1, -3, 9):
        with pytest.raises(ShapeError, match="flatten: "):
            ops.flatten([1.0, 2.0], start)


@pytest.mark.parametrize(
    ("dtype", "value"),
    [("int64", 0.5), ("uint8", -1), ("uint8", 300), ("int64", np.inf), ("int64", np.nan), ("?", 2)],
)
def test_pad_refuses_a_value_that_the_type_cannot_hold(dtype, value):
    with pytest.raises(DTypeError, match="pad: expected value as a number that"):
        ops.pad(md.tensor(np.array([1, 0], dtype)), 1, value)


def test_pad_with_what_the_type_holds():
    ends = [("int8", -128), ("int8", 127), ("uint8", 0), ("uint8", 255), ("?", 0), ("?", 1)]
    for dtype, value in [("int64", -3), ("int64", 2.0), *ends]:
        x = np.array([1, 0], dtype)
        found = ops.pad(md.tensor(x), 1, value).numpy()
        np.testing.assert_array_equal(found, np.pad(x, 1, constant_values=value))
        assert found.dtype == x.dtype


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: ops.tril(X, None), ConfigError, "tril: expected k an int"),
        (lambda: ops.tril(X, 1.5), ConfigError, "tril: expected k an int"),
        (lambda: ops.stack([X, X], axis=None), ConfigError, "stack: expected axis an int"),
        (lambda: ops.broadcast_to(X, None), ShapeError, "broadcast_to:"),
        (lambda: ops.astype(X, None), DTypeError, "astype: expected a numeric dtype, got None"),
        (lambda: ops.einsum("ij->"), ShapeError, "einsum: expected subscripts such as"),
        (lambda: ops.einsum(5, X), ShapeError, "einsum: expected subscripts such as"),
        (lambda: ops.einsum("...i,...j->ij", X), ShapeError, "einsum: "),
        (lambda: ops.einsum("...i->i", X, X), ShapeError, "einsum: "),
    ],
)
def test_what_is_no_axis_shape_or_subscript_is_refused(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_indices_of_other_libraries_are_copied_too():
    x = md.tensor([1.0, 2.0, 3.0], requires_grad=True)
    places = array("l", [0, 1])
    y = x[places]
    places[0] = places[1] = 2
    y.sum().backward()
    assert x.grad.numpy().tolist() == [1, 1, 0]
