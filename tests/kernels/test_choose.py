"""Which kernels run for which device, type, groups and shape, case by case."""

from types import SimpleNamespace

import numpy as np
import pytest

from minidl import kernels
from minidl.kernels import choose as dispatch

pytestmark = pytest.mark.host


class Spy:
    """Stands for a module of kernels; notes its name when one is called."""

    def __init__(self, name, ran):
        self.name, self.ran = name, ran

    def usable(self, *arrays):
        """What `cuda` says, were there a GPU."""
        return all(isinstance(a, SimpleNamespace) and a.dtype.char in "fd" for a in arrays)

    def __getattr__(self, kernel):
        return lambda *arguments: self.ran.append(f"{self.name}.{kernel}")


@pytest.fixture
def ran(monkeypatch):
    """The names of the kernels that ran; they compute nothing."""
    names = []
    for module in ("portable", "cpu_rows", "cpu_columns", "cpu_pool", "cuda"):
        monkeypatch.setattr(dispatch, module, Spy(module, names))
    return names


def on_gpu(*shape, dtype="f"):
    """What is no array of NumPy, though it has the attributes of one."""
    return SimpleNamespace(shape=shape, dtype=np.dtype(dtype), size=int(np.prod(shape)))


@pytest.mark.parametrize(
    ("channels", "size", "module"),
    [
        (15, (1, 3), "cpu_columns"),
        (16, (1, 3), "cpu_rows"),
        (5, (3, 9), "cpu_columns"),
        (6, (3, 1), "cpu_rows"),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_convolutions_go_by_the_lines_of_a_kernel_row(ran, channels, size, module, dtype):
    window = kernels.window("conv2d", (20, 20), size)
    x, w = np.ones((2, channels, 20, 20), dtype), np.ones((3, channels, *size), dtype)
    g = np.ones((2, 3, *window.out), dtype)
    kernels.conv_forward(x, w, None, window, 1)
    kernels.conv_forward(x, w, np.ones(3, dtype), window, 1)
    kernels.conv_input_grad(g, w, window, 1)
    kernels.conv_weight_grad(x, g, window, 1)
    calls = ("conv_forward", "conv_forward", "conv_input_grad", "conv_weight_grad")
    assert ran == [f"{module}.{call}" for call in calls]


X, W, G = np.ones((2, 4, 5, 5), "f"), np.ones((4, 4, 3, 3), "f"), np.ones((2, 4, 3, 3), "f")


@pytest.mark.parametrize(
    ("x", "w", "groups"),
    [
        (X, W[:, :2], 2),
        (X.astype("e"), W.astype("e"), 1),
        (X.astype("d"), W, 1),
        (X[:0], W, 1),
        (on_gpu(2, 4, 5, 5, dtype="e"), on_gpu(4, 4, 3, 3, dtype="e"), 1),
        (X, on_gpu(4, 4, 3, 3), 1),
    ],
    ids=["groups", "float16", "mixed types", "no images", "float16 on a GPU", "half on a GPU"],
)
def test_every_other_convolution_is_portable(ran, x, w, groups):
    window = kernels.window("conv2d", (5, 5), 3)
    kernels.conv_forward(x, w, None, window, groups)
    kernels.conv_forward(x, w, np.ones(4, "f"), window, groups)
    assert ran == ["portable.conv_forward"] * 2


@pytest.mark.parametrize("b", [np.ones(4), on_gpu(4)], ids=["wider", "on a GPU"])
def test_another_type_of_bias_makes_the_convolution_portable(ran, b):
    kernels.conv_forward(X, W, b, kernels.window("conv2d", (5, 5), 3), 1)
    assert ran == ["portable.conv_forward"]


@pytest.mark.parametrize(
    ("g", "other", "groups"),
    [
        (G, W[:, :2], 2),
        (G.astype("e"), W.astype("e"), 1),
        (G.astype("d"), W, 1),
        (G[:0], W, 1),
        (on_gpu(2, 4, 3, 3, dtype="e"), on_gpu(4, 4, 3, 3, dtype="e"), 1),
        (G, on_gpu(4, 4, 3, 3), 1),
    ],
    ids=["groups", "float16", "mixed types", "no images", "float16 on a GPU", "half on a GPU"],
)
def test_so_are_its_gradients(ran, g, other, groups):
    window = kernels.window("conv2d", (5, 5), 3)
    kernels.conv_input_grad(g, other, window, groups)
    kernels.conv_weight_grad(other, g, window, groups)
    assert ran == ["portable.conv_input_grad", "portable.conv_weight_grad"]


@pytest.mark.parametrize(
    ("x", "module"),
    [
        (X, "cpu_pool"),
        (X.astype("d"), "cpu_pool"),
        (X.astype("e"), "portable"),
        (X[:0], "portable"),
        (on_gpu(2, 4, 5, 5, dtype="e"), "portable"),
    ],
    ids=["float32", "float64", "float16", "no images", "float16 on a GPU"],
)
def test_pooling_goes_by_the_type(ran, x, module):
    window, index = kernels.window("max_pool2d", (5, 5), 2), np.zeros((2, 4, 4, 4), np.uint8)
    kernels.max_pool(x, window)
    kernels.max_unpool(x, index, window)
    kernels.max_unpool(x, index.astype(np.int64), window)
    kernels.max_take(x, index, window)
    kernels.avg_pool(x, window)
    kernels.avg_unpool(x, window)
    assert ran == [
        f"{module}.max_pool",
        f"{module}.max_unpool",
        "portable.max_unpool",
        "portable.max_take",
        f"{module}.avg_pool",
        f"{module}.avg_unpool",
    ]


@pytest.mark.parametrize(
    ("size", "module"),
    [
        ((16, 16), "cpu_pool"),
        ((2, 128), "cpu_pool"),
        ((128, 2), "cpu_pool"),
        ((1, 257), "portable"),
        ((257, 1), "portable"),
    ],
)
def test_maxima_of_more_than_256_taps_are_portable(ran, size, module):
    kernels.max_pool(np.ones((1, 1, *size), "f"), kernels.window("max_pool2d", size, size))
    assert ran == [f"{module}.max_pool"]


def test_on_a_gpu_most_kernels_are_its_own(ran):
    x, w, g, b = on_gpu(2, 4, 5, 5), on_gpu(4, 4, 3, 3), on_gpu(2, 4, 3, 3), on_gpu(4)
    window, index = kernels.window("conv2d", (5, 5), 3), np.zeros((2, 4, 3, 3), np.uint8)
    kernels.conv_forward(x, w, None, window, 2)
    kernels.conv_forward(x, w, b, window, 1)
    kernels.conv_input_grad(g, w, window, 1)
    kernels.conv_weight_grad(x, g, window, 1)
    kernels.max_pool(x, window)
    kernels.max_unpool(g, index, window)
    calls = ("conv_forward", "conv_forward", "conv_input_grad", "conv_weight_grad")
    assert ran == [f"cuda.{call}" for call in (*calls, "max_pool", "max_unpool")]
    ran.clear()
    kernels.max_pool(on_gpu(1, 1, 1, 257), kernels.window("max_pool2d", (1, 257), (1, 257)))
    kernels.max_unpool(g, index.astype(np.int64), window)
    kernels.max_take(x, index, window)
    kernels.avg_pool(x, window)
    kernels.avg_unpool(g, window)
    calls = ("max_pool", "max_unpool", "max_take", "avg_pool", "avg_unpool")
    assert ran == [f"portable.{call}" for call in calls]


def test_what_runs_in_one_launch_does_so_on_a_gpu_alone(ran):
    assert kernels.keep_positive(X, X) is None
    assert not kernels.in_one_launch(X, X)
    assert kernels.keep_positive(on_gpu(2), on_gpu(1, 2)) is None
    assert ran == []
    kernels.cross_entropy(X, X)
    kernels.cross_entropy(on_gpu(1 << 8, 257), X)
    assert ran == ["portable.cross_entropy"] * 2
    ran.clear()
    kernels.cross_entropy(on_gpu(1 << 8, 1 << 8), X)
    kernels.keep_positive(on_gpu(2), on_gpu(2))
    assert ran == ["cuda.cross_entropy", "cuda.keep_positive"]
    rows, gaps = (SimpleNamespace(c_contiguous=c) for c in (True, False))
    ours, theirs = on_gpu(2), on_gpu(2)
    ours.flags, theirs.flags = rows, rows
    assert kernels.in_one_launch(ours, theirs)
    theirs.flags = gaps
    assert not kernels.in_one_launch(ours, theirs)


def test_an_update_is_one_launch_for_each_type(monkeypatch):
    launched = []
    monkeypatch.setattr(dispatch, "cuda", SimpleNamespace(update=lambda *a: launched.append(a)))
    single, double, third = (np.ones(1, "f"),), (np.ones(2, "d"),), (np.ones(3, "f"),)
    kernels.update("sgd", [single, double, third], [(1.0,), (2.0,), (3.0,)])
    launched.sort(key=lambda launch: launch[2])
    assert launched == [
        ("sgd", [single, third], [(1.0,), (3.0,)]),
        ("sgd", [double], [(2.0,)]),
    ]
