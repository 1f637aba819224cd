"""Which kernels run for which device, type, groups and shape, case by case."""

from types import SimpleNamespace

import numpy as np
import pytest

from minidl import kernels
from minidl.kernels import dispatch


class Spy:
    """Stands for a module of kernels; notes its name when one is called."""

    def __init__(self, name, ran):
        self.name, self.ran = name, ran

    def __getattr__(self, kernel):
        return lambda *arguments: self.ran.append(f"{self.name}.{kernel}")


@pytest.fixture
def ran(monkeypatch):
    """The names of the kernels that ran; they compute nothing."""
    names = []
    for module in ("portable", "cpu_rows", "cpu_columns", "cpu_pool"):
        monkeypatch.setattr(dispatch, module, Spy(module, names))
    return names


def foreign(*shape):
    """What is no array of NumPy, though it has the attributes of one."""
    return SimpleNamespace(shape=shape, dtype=np.dtype(np.float32), size=int(np.prod(shape)))


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
        (foreign(2, 4, 5, 5), foreign(4, 4, 3, 3), 1),
        (X, foreign(4, 4, 3, 3), 1),
    ],
    ids=["groups", "float16", "mixed types", "no images", "foreign", "half foreign"],
)
def test_every_other_convolution_is_portable(ran, x, w, groups):
    window = kernels.window("conv2d", (5, 5), 3)
    kernels.conv_forward(x, w, None, window, groups)
    kernels.conv_forward(x, w, np.ones(4, "f"), window, groups)
    assert ran == ["portable.conv_forward"] * 2


@pytest.mark.parametrize("b", [np.ones(4), foreign(4)], ids=["wider", "foreign"])
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
        (foreign(2, 4, 3, 3), foreign(4, 4, 3, 3), 1),
        (G, foreign(4, 4, 3, 3), 1),
    ],
    ids=["groups", "float16", "mixed types", "no images", "foreign", "half foreign"],
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
        (foreign(2, 4, 5, 5), "portable"),
    ],
    ids=["float32", "float64", "float16", "no images", "foreign"],
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
