"""Defaults, memory order and errors of products."""

import numpy as np
import pytest

import minidl as md
from minidl import ops
from minidl.errors import ShapeError
from tests.device import put


def test_tensordot_sums_two_axes_by_default():
    a, b = np.arange(24.0).reshape(2, 3, 4), np.arange(24.0).reshape(3, 4, 2)
    np.testing.assert_array_equal(ops.tensordot(a, b).numpy(), np.tensordot(a, b))
    assert ops.tensordot(a, b, 0).shape == (2, 3, 4, 3, 4, 2)


@pytest.mark.parametrize(
    ("order", "contiguous"), [("F", "f_contiguous"), ("C", "c_contiguous")], ids=["F", "C"]
)
def test_the_gradient_of_a_flattened_image_lies_in_memory_as_the_image_does(order, contiguous):
    a = md.tensor(np.ones((3, 4)), dtype="float64", requires_grad=True)
    a.data = put(np.asarray(np.ones((3, 4)), order=order))
    seen = []
    with md.graph.observe(lambda kind, name, layer, value, sources: seen.append((kind, value))):
        (a @ np.ones((4, 2))).sum().backward()
    by_left = [v for k, v in seen if k == "backward" and v.shape == (3, 4)]
    assert getattr(by_left[0].flags, contiguous)
    np.testing.assert_array_equal(a.grad.numpy(), np.full((3, 4), 2.0))


@pytest.mark.host  # on a GPU every array is contiguous
def test_the_gradient_of_a_transposed_weight_lies_in_memory_as_the_weight_does():
    w = md.Tensor(np.arange(12.0).reshape(4, 3))
    w.requires_grad = True
    x, seen = np.arange(6.0).reshape(2, 3), []
    with md.graph.observe(lambda kind, name, layer, value, sources: seen.append((kind, value))):
        (x @ w.T).sum().backward()
    by_right = [v for k, v in seen if k == "backward" and v.shape == (3, 4)]
    assert by_right[0].flags.f_contiguous
    np.testing.assert_array_equal(w.grad.numpy(), np.tile(x.sum(0), (4, 1)))


def test_a_vector_is_a_row_on_the_left_and_a_column_on_the_right():
    rows, columns = np.random.default_rng(0).normal(size=(2, 3)), np.ones((4, 3, 2))
    v = np.array([1.0, 2.0, 3.0])
    for a, b in ((v, columns), (rows, v), (columns.swapaxes(1, 2), v), (v, v)):
        y = md.as_tensor(a) @ md.as_tensor(b)
        assert y.shape == (a @ b).shape
        np.testing.assert_allclose(y.numpy(), a @ b)


def test_a_bias_of_float64_makes_a_dense_layer_of_float32_float64():
    x, w = md.tensor(np.ones((2, 3), np.float32)), md.tensor(np.ones((4, 3), np.float32))
    b = md.tensor(np.full(4, 1e-12), dtype="float64")
    y = ops.linear(x, w, b).numpy()
    assert y.dtype == np.float64
    assert (y == 3 + 1e-12).all()


def test_operators_are_the_operations():
    a, b = md.tensor([[1.0, 2.0], [3.0, 4.0]]), np.array([[0.0, 1.0], [1.0, 0.0]], np.float32)
    assert (a @ b).numpy().tolist() == [[2.0, 1.0], [4.0, 3.0]]
    assert (b @ a).numpy().tolist() == [[3.0, 4.0], [1.0, 2.0]]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda a, b: ops.matmul(a, a), r"matmul: .*equal k, got \(2, 3\) @ \(2, 3\)"),
        (lambda a, b: ops.matmul(2.0, a), r"matmul: .* got \(\) @ \(2, 3\)"),
        (lambda a, b: ops.matmul(a, 2.0), r"matmul: .* got \(2, 3\) @ \(\)"),
        (lambda a, b: ops.matmul(a[0], a[0, :2]), r"matmul: .* got \(3,\) @ \(2,\)"),
        (
            lambda a, b: ops.matmul(np.ones((2, 1, 3)), np.ones((3, 3, 1))),
            r"matmul: the leading axes of \(2, 1, 3\) and \(3, 3, 1\) do not broadcast",
        ),
        (lambda a, b: ops.linear(b, a.T), r"linear: .* b \(out,\), got \(3, 3\), \(3, 2\)$"),
        (lambda a, b: ops.linear(2.0, a), r"linear: .* got \(\), \(2, 3\)$"),
        (lambda a, b: ops.linear(a, a[0]), r"linear: .* got \(2, 3\), \(3,\)$"),
        (lambda a, b: ops.linear(a, a, a[0]), r"linear: .* got \(2, 3\), \(2, 3\), \(3,\)"),
        (lambda a, b: ops.einsum("ij->i", a, b), "einsum: 'ij->i' does not describe"),
        (lambda a, b: ops.einsum("ijk->i", a), "einsum: .* one letter per axis"),
        (lambda a, b: ops.einsum("ii->i", a), "einsum: .*axis 'i' has lengths"),
        (lambda a, b: ops.einsum("ii->ii", b), "einsum: 'ii->ii' does not describe"),
        (
            lambda a, b: ops.einsum("...i,...j", a, np.ones((3, 2))),
            "einsum: .* has lengths 2 and 3",
        ),
        (lambda a, b: ops.einsum("ij->ii", a), "einsum: 'ij->ii' does not describe"),
        (lambda a, b: ops.einsum("ij->k", a), "einsum: 'ij->k' does not describe"),
        (lambda a, b: ops.einsum("i.->i", a), "einsum: 'i.->i' does not describe"),
        (lambda a, b: ops.einsum("ij,ij->ij", a, b), "einsum: .*axis 'i' has lengths 2 and 3"),
        (
            lambda a, b: ops.tensordot(a, b, ([0, 1], [0])),
            r"tensordot: expected as many axes of a as of b, got \(0, 1\) and \(0,\)",
        ),
        (lambda a, b: ops.tensordot(a, a, 1), "tensordot: .*has lengths 3 and 2"),
        (lambda a, b: ops.tensordot(a, b, 3), "tensordot: "),
        (lambda a, b: ops.tensordot(a, b, ([2], [0])), "tensordot: axis 2"),
        (lambda a, b: ops.tensordot(a, b, ([0], [2])), "tensordot: axis 2"),
    ],
)
def test_errors_name_the_call(call, words):
    with pytest.raises(ShapeError, match=words):
        call(np.ones((2, 3)), np.ones((3, 3)))


def test_einsum_with_lengths_of_1_broadcasts_behind_dots_alone():
    random = np.random.default_rng(0)
    a, b = random.normal(size=(1, 3)), random.normal(size=(2, 3))
    for first, second in ((a, b), (b, a)):
        x, y = (md.tensor(t, requires_grad=True) for t in (first, second))
        found = ops.einsum("...i,...i->...", x, y)
        np.testing.assert_allclose(found.numpy(), (first * second).sum(1), rtol=1e-6)
        found.sum().backward()
        assert x.grad.shape == first.shape and y.grad.shape == second.shape
        wanted = second.sum(0, keepdims=True) if len(first) == 1 else np.repeat(second, 2, 0)
        np.testing.assert_allclose(x.grad.numpy(), wanted, rtol=1e-5)
        with pytest.raises(ShapeError, match="axis 'n' has lengths"):
            ops.einsum("ni,ni->n", first, second)


def test_a_diagonal_beside_axes_that_broadcast():
    a, b = np.arange(4.0).reshape(2, 1, 2), np.arange(3.0)
    found = ops.einsum("a...a,...->a...", a, b).numpy()
    assert np.array_equal(found, np.einsum("a...a,...->a...", a, b))
    md.testing.gradcheck(lambda *x: ops.einsum("a...a,...->a...", *x), a, b, order=2)
