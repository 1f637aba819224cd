"""Tensor: making one, dtypes, conversions, operators, comparisons, errors."""

import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import minidl as md
from minidl.errors import ConfigError, DeviceError, DTypeError, ShapeError
from minidl.tensor import Tensor
from tests.device import shares


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        (1.0, "float32"),
        ([1.0, 2.0], "float32"),
        (np.float64(1.0), "float32"),
        (np.array([1.0]), "float32"),
        (np.array([1.0], np.float16), "float32"),
        ([1, 2], "int64"),
        (True, "bool"),
        (np.array([1], np.uint8), "uint8"),
        ([], "float32"),
    ],
)
def test_float_data_become_float32_and_others_keep_theirs(data, dtype):
    assert md.tensor(data).dtype == dtype


def test_a_tensor_owns_its_data():
    source = np.array([1.0, 2.0], np.float32)
    x = md.tensor(source)
    source[:] = 0
    assert x.numpy().tolist() == [1.0, 2.0]
    z = md.tensor(x)
    assert not shares(z.data, x.data)
    assert md.tensor(source, dtype="float64").dtype == np.float64
    assert md.tensor([1, 2], dtype="float32").dtype == np.float32
    assert md.tensor(0.1, dtype="float64").item() == md.tensor([0.1], dtype=float).item() == 0.1


@pytest.mark.host
def test_an_array_of_another_library_is_read_through_numpy():
    class Foreign:
        dtype = "foreign.float32"

        def __dlpack__(self):
            raise AssertionError("a copy is made, so no memory is shared")

        def __array__(self, dtype=None, copy=None):
            return np.array([1.0, 2.0])

    x = md.tensor(Foreign())
    assert x.numpy().tolist() == [1.0, 2.0]
    assert x.dtype == np.float32


@pytest.mark.host
def test_defaults():
    x = md.tensor([1.0])
    assert (x.requires_grad, x.grad, x.device, x.is_leaf, x.node) == (
        False,
        None,
        "cpu",
        True,
        None,
    )
    assert md.tensor([1.0], requires_grad=True).requires_grad is True
    assert md.tensor([1.0], device="cpu").device == "cpu"
    assert not (md.tensor([1.0], requires_grad=True) * 2.0).is_leaf


@pytest.mark.host
def test_as_tensor_shares_and_keeps_the_dtype():
    source = np.array([1.0, 2.0])
    x = md.as_tensor(source)
    assert x.data is source
    assert md.as_tensor(x) is x
    assert md.as_tensor([1.0]).dtype == np.float32
    assert md.as_tensor(2.0).dtype == np.float32
    assert md.as_tensor(np.float64(2.0)).dtype == np.float64
    assert isinstance(md.as_tensor(np.float64(2.0)).data, np.ndarray)


def test_python_numbers_take_the_dtype_beside_them():
    for dtype in ("float32", "float64", "float16"):
        x = md.tensor([1.0], dtype=dtype)
        for y in (x + 1, 1 + x, x * 2.5, 2.5 / x, x - True, x**2, 2.0**x):
            assert y.dtype == dtype
    whole = md.tensor([1, 2])
    assert (whole + 1).dtype == np.int64
    assert (whole + 1.5).dtype == np.float32
    assert (whole / 2).dtype == np.float32
    assert md.as_tensor(1, like=md.tensor([True])).dtype.kind == "i"


def test_shape_attributes():
    x = md.tensor(np.zeros((2, 3)))
    assert (x.shape, x.ndim, x.size, len(x)) == ((2, 3), 2, 6, 2)
    assert x.T.shape == x.mT.shape == (3, 2)
    assert md.tensor(np.zeros((2, 3, 4))).mT.shape == (2, 4, 3)
    assert md.tensor(np.zeros((2, 3, 4))).T.shape == (4, 3, 2)
    assert [row.shape for row in x] == [(3,), (3,)]


def test_operators():
    a, b = np.array([[5.0, 2.0]]), np.array([[2.0], [3.0]])
    x = md.tensor(a, dtype="float64")
    for y, expected in (
        *((x + b, a + b), (b + x, b + a), (x - b, a - b), (b - x, b - a), (x * b, a * b)),
        *((b * x, b * a), (x / b, a / b), (b / x, b / a), (x**b, a**b), (b**x, b**a)),
        *((x @ b, a @ b), (b @ x, b @ a), (-x, -a), (abs(-x), a), (x + 1, a + 1), (1 - x, 1 - a)),
        *((2 / x, 2 / a), (x**2, a**2), (2**x, 2**a), (x[0, 1], a[0, 1])),
    ):
        assert isinstance(y, Tensor)
        np.testing.assert_allclose(y.numpy(), expected, rtol=1e-14)


def test_comparisons_give_bools_without_a_gradient():
    x = md.tensor([1.0, 2.0, 3.0], requires_grad=True)
    for y, expected in (
        *((x < 2, [1, 0, 0]), (x <= 2, [1, 1, 0]), (x > 2, [0, 0, 1]), (x >= 2, [0, 1, 1])),
        *((x == 2, [0, 1, 0]), (x != 2, [1, 0, 1]), (x == x, [1, 1, 1])),
        (2 < x, [0, 0, 1]),  # noqa: SIM300
    ):
        assert y.dtype == np.bool_
        assert y.numpy().tolist() == [bool(e) for e in expected]
        assert not y.requires_grad
    with pytest.raises(ShapeError, match=r"broadcast.* got \(3,\) and \(2,\)"):
        x < md.tensor([1.0, 2.0])  # noqa: B015


def test_a_tensor_is_not_none():
    x = md.tensor([1.0])
    assert (x == None) is False  # noqa: E711
    assert (x != None) is True  # noqa: E711
    assert None not in [x]
    with pytest.raises(TypeError, match="'<' not supported"):
        x < None  # noqa: B015


def test_a_tensor_is_hashed_by_identity():
    a, b = md.tensor([1.0]), md.tensor([1.0])
    assert len({a, b}) == 2
    assert {a: 1}[a] == 1


METHODS = (
    *("exp", "log", "sqrt", "square", "abs", "relu", "tanh", "sigmoid", "softmax", "log_softmax"),
    *("sum", "mean", "max", "min", "var", "std", "logsumexp", "norm", "transpose", "flatten"),
    *("squeeze", "flip", "clip"),
)


@pytest.mark.parametrize("name", METHODS)
def test_methods_are_the_operations(name):
    x = md.tensor([[0.2, 0.4], [0.6, 0.9]], dtype="float64")
    expected = getattr(md.ops, name)(x).numpy()
    np.testing.assert_array_equal(getattr(x, name)().numpy(), expected)
    assert getattr(Tensor, name) is getattr(md.ops, name)


def test_methods_with_arguments():
    x = md.tensor([[0.2, 0.4], [0.6, 0.9]], dtype="float64")
    assert x.sum(axis=0, keepdims=True).shape == (1, 2)
    assert x.reshape(4).shape == (4,)
    assert x.swapaxes(0, 1).shape == x.moveaxis(0, 1).shape == (2, 2)
    assert x.expand_dims(0).shape == (1, 2, 2)
    assert x.broadcast_to(3, 2, 2).shape == (3, 2, 2)
    assert x.pad(1).shape == (4, 4)
    assert x.cumsum(0).shape == (2, 2)
    assert x.astype("float32").dtype == np.float32
    assert x.clip(0.3, 0.5).max().item() == 0.5
    assert Tensor.stack([x, x]).shape == (2, 2, 2)


@pytest.mark.host
def test_conversions():
    x = md.tensor([[1.5]])
    assert x.item() == 1.5
    assert (float(x), int(x), bool(x)) == (1.5, 1, True)
    assert not md.tensor(0.0)
    assert x.numpy() is x.data
    assert np.asarray(x) is x.data
    assert np.array(x, dtype=np.float64).dtype == np.float64
    assert not np.shares_memory(np.array(x, copy=True), x.data)
    assert np.asarray(x, dtype=int).tolist() == [[1]]
    with pytest.raises(ValueError, match=r"."):
        np.array(x, dtype=int, copy=False)


def test_detach_shares_the_data_and_forgets_the_rest():
    x = md.tensor([1.0], requires_grad=True)
    y = (x * 2.0).detach()
    assert (y.requires_grad, y.node) == (False, None)
    assert shares(x.detach().data, x.data)


def test_to_the_same_device_is_the_same_tensor():
    x = md.tensor([1.0], requires_grad=True)
    assert x.to(x.device) is x


@pytest.mark.host
def test_a_gradient_comes_back_from_the_device_it_was_sent_to(monkeypatch):
    moved = []
    monkeypatch.setattr(
        sys.modules["minidl.tensor"],
        "to_device",
        lambda array, device: moved.append(device) or array,
    )
    x = md.tensor([1.0, 2.0], requires_grad=True)
    x.to("cuda").backward([3.0, 4.0])
    assert moved == ["cuda"]
    assert x.grad.numpy().tolist() == [3.0, 4.0]


@pytest.mark.host
def test_dlpack_goes_to_the_library_of_its_device(monkeypatch):
    class OnGPU:
        def __dlpack_device__(self):
            return 2, 0

    library = SimpleNamespace(
        from_dlpack=lambda source: np.array([1.0 * isinstance(source, OnGPU)])
    )
    monkeypatch.setattr(sys.modules["minidl.arrays"], "cupy", lambda: library)
    assert md.from_dlpack(OnGPU()).item() == 1.0


@pytest.mark.host
def test_dlpack_shares_memory():
    x = md.tensor([1.0, 2.0])
    view = np.from_dlpack(x)
    assert np.shares_memory(view, x.data)
    back = md.from_dlpack(np.array([3.0]))
    assert isinstance(back, Tensor)
    assert back.dtype == np.float64
    source = np.array([3.0])
    assert np.shares_memory(md.from_dlpack(source).data, source)


def test_repr():
    x = md.tensor([1.0, 2.5], requires_grad=True)
    assert repr(x) == "tensor([1. , 2.5], dtype=float32, requires_grad=True)"
    assert repr(md.tensor([1, 2])) == "tensor([1, 2], dtype=int64)"


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: md.tensor(["a"]), DTypeError, "tensor: expected numbers, got dtype <U1"),
        (lambda: md.tensor(None), DTypeError, "tensor: expected numbers, got dtype object"),
        (lambda: md.tensor([1.0], dtype="float31"), DTypeError, "expected a NumPy dtype, got 'flo"),
        (
            lambda: md.tensor([[1.0], [1.0, 2.0]]),
            ShapeError,
            "tensor: expected numbers in .* lists",
        ),
        (
            lambda: md.tensor([1], requires_grad=True),
            DTypeError,
            "requires_grad=True needs floating-point data, got int64.*dtype='float32'",
        ),
        (lambda: md.tensor([True], requires_grad=True), DTypeError, "got bool"),
        (lambda: md.tensor([1.0], device="tpu"), DeviceError, "'cpu' or 'cuda', got 'tpu'"),
        (lambda: md.as_tensor(["a"]), DTypeError, "as_tensor: expected numbers"),
        (lambda: md.as_tensor([[1.0], []]), ShapeError, "as_tensor: expected numbers in"),
        (lambda: md.ops.exp("a"), DTypeError, "as_tensor: expected numbers, got dtype <U1"),
        (lambda: md.tensor([1.0, 2.0]).item(), ShapeError, r"item: expected one value.*\(2,\)"),
        (lambda: bool(md.tensor([1.0, 2.0])), ShapeError, "item: expected one value"),
        (lambda: float(md.tensor([])), ShapeError, r"item: expected one value, got shape \(0,\)"),
        (lambda: len(md.tensor(1.0)), ShapeError, r"len: a tensor of shape \(\) has no length"),
        (lambda: list(md.tensor(1.0)), ShapeError, "len: a tensor of shape"),
        (lambda: md.tensor([1.0]).to("tpu"), DeviceError, "'cpu' or 'cuda', got 'tpu'"),
    ],
)
def test_errors(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_text_is_no_number_whatever_dtype_is_asked_for():
    with pytest.raises(DTypeError, match="tensor: expected numbers, got dtype <U1"):
        md.tensor(np.array(["a"]), dtype="float32")


def test_a_gradient_that_is_passed_is_converted_or_refused():
    image = md.tensor(np.arange(16.0).reshape(1, 1, 4, 4), requires_grad=True)
    for pool in (md.ops.avg_pool2d, md.ops.max_pool2d):
        image.grad = None
        pool(image, 4).backward(md.tensor([[[[1]]]]))
        assert image.grad.sum().item() == 1
    for bad in ("a", [[1.0], [2.0, 3.0]]):
        with pytest.raises((DTypeError, ShapeError), match="backward: "):
            (image * 1).backward(bad)


def test_a_hook_must_be_a_function():
    x = md.tensor([1.0], requires_grad=True)
    with pytest.raises(ConfigError, match="hook: expected a function, got 5"):
        x.register_hook(5)


@pytest.mark.host
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_child_of_a_fork_can_train_although_another_thread_was_training():
    body = """
import os, threading, numpy as np, minidl as md
model, x, stop = md.nn.Dense(50, 50), np.ones((16, 50), "f"), []
def work():
    while not stop:
        (model(x) ** 2).sum().backward()
threads = [threading.Thread(target=work) for _ in range(3)]
for thread in threads: thread.start()
for _ in range(20):
    child = os.fork()
    if child == 0:
        p = md.tensor([1.0, 1.0, 1.0], requires_grad=True)
        (p * 2).sum().backward()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
stop.append(1)
for thread in threads: thread.join()
"""
    subprocess.run([sys.executable, "-c", body], check=True, timeout=120)
