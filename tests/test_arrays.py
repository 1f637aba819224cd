"""What may become a tensor: lists, numbers, arrays of other libraries; the rest is refused."""

import numpy as np
import pytest

import minidl as md
from minidl.arrays import as_array
from minidl.errors import DTypeError, GradientError, MinidlError, ShapeError


class Foreign:
    """An array of another library: a dtype, a shape, `get` as a table's column has, `__array__`."""

    def __init__(self, values):
        self.values = np.asarray(values)
        self.dtype, self.shape = self.values.dtype, self.values.shape

    def get(self, key, default=None):
        return default

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.values, dtype)


class Broken:
    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("the values are on another planet")


@pytest.mark.host
@pytest.mark.parametrize("call", [md.tensor, md.as_tensor, md.ops.exp, lambda x: md.ones(2) + x])
def test_an_array_of_another_library_is_taken_by_its_values(call):
    found = call(Foreign([0.0, 1.0]))
    np.testing.assert_allclose(found.numpy(), call(np.array([0.0, 1.0])).numpy())


@pytest.mark.host
@pytest.mark.filterwarnings("ignore:the matrix subclass")
def test_arrays_are_not_copied_and_subclasses_are_read_as_arrays():
    array = np.arange(3.0)
    assert as_array("test", array) is array
    matrix = np.matrix([[1.0, 2.0]])
    assert type(as_array("test", matrix)) is np.ndarray
    assert md.ops.sum(matrix, 0).shape == (2,)
    assert md.ops.softmax(matrix, 1).shape == (1, 2)


def test_a_masked_array_is_refused_with_the_cure():
    masked = np.ma.masked_array([1.0, 2.0], [False, True])
    for call in (md.tensor, md.as_tensor, md.ops.exp, lambda x: md.ops.mean(x, 0)):
        with pytest.raises(DTypeError, match=r"a masked array of shape \(2,\).*x\.filled\(0\)"):
            call(masked)
    assert md.ops.mean(masked.filled(4)).item() == 2.5


@pytest.mark.host
def test_masked_places_do_not_count_where_everything_is_reduced():
    masked = np.ma.masked_array([[1.0, 9.0], [3.0, 8.0]], [[False, True], [False, True]])
    for name, expected in {"sum": 4, "mean": 2, "max": 3, "min": 1, "var": 1, "std": 1}.items():
        assert getattr(md.ops, name)(masked).item() == expected == getattr(masked, name)()
    assert md.ops.norm(masked).item() == pytest.approx(10**0.5)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("text", "expected numbers, got dtype <U4, a str"),
        ([None], "expected numbers, got dtype object, a list"),
        (np.array(["a"]), "expected numbers"),
        (np.array([1], dtype="datetime64[s]"), "expected numbers, got dtype datetime64"),
        (Broken(), "cannot read .*Broken as an array: the values are on another planet"),
        (object(), "expected numbers, got dtype object, a object"),
    ],
)
def test_what_holds_no_numbers_is_refused_by_name(value, words):
    for call in (md.tensor, md.as_tensor):
        with pytest.raises(DTypeError, match=words):
            call(value)


def test_a_sparse_matrix_is_told_how_to_become_dense():
    class Sparse:
        def toarray(self):
            return np.eye(2)

    with pytest.raises(DTypeError, match=r"make it dense: x\.toarray\(\)"):
        md.tensor(Sparse())


def test_ragged_lists_and_lists_of_tensors():
    with pytest.raises(ShapeError, match="equally long lists"):
        md.tensor([[1.0], [2.0, 3.0]])
    leaf = md.tensor(1.0, requires_grad=True)
    for nested in ([leaf], (2.0, (leaf,)), [[leaf, 1.0]]):
        with pytest.raises(GradientError, match=r"md\.ops\.stack"):
            as_array("test", nested)


def test_numbers_of_numpy_never_promote():
    x = md.tensor([1.0, 2.0])
    for number in (np.float64(2), np.int64(2), np.float32(2), 2, 2.0, True):
        for y in (x * number, number * x, x**number, md.ops.maximum(x, number)):
            assert y.dtype == np.float32
    assert (md.tensor([1, 2]) * np.int32(3)).dtype == np.int64


@pytest.mark.host
def test_tensors_of_pytorch_are_taken_or_refused_in_words():
    torch = pytest.importorskip("torch")
    assert md.tensor(torch.ones(2)).shape == (2,)
    assert md.ops.exp(torch.zeros(2)).numpy().tolist() == [1, 1]
    with pytest.raises(MinidlError, match=r"torch\.Tensor as an array"):
        md.tensor(torch.ones(2, requires_grad=True))
