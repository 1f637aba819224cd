"""Which kernels run for which device, type, groups and shape, case by case."""

import inspect
from inspect import ismodule
from types import SimpleNamespace

import numpy as np
import pytest

from minidl import kernels
from minidl.kernels import choose

pytestmark = pytest.mark.host


class Spy:
    """Stands for a module of kernels; notes its name when one is called."""

    FEW = choose.gpu.convolution.FEW
    ROWS, OUTPUTS = choose.gpu.product.ROWS, choose.gpu.product.OUTPUTS

    def __init__(self, module, ran):
        self.name, self.ran = module.__name__.removeprefix("minidl.kernels."), ran

    def __getattr__(self, kernel):
        return lambda *arguments, **options: self.ran.append(f"{self.name}.{kernel}")


@pytest.fixture
def ran(monkeypatch):
    """The names of the kernels that ran; they compute nothing."""
    names = []
    modules = {module for row in choose.TABLE.values() for module in row if module}
    spies = {module: Spy(module, names) for module in modules}
    table = {row: tuple(map(spies.get, found)) for row, found in choose.TABLE.items()}
    monkeypatch.setattr(choose, "TABLE", table)
    for part in ("cpu", "gpu"):
        package = getattr(choose, part)
        found = {n: spies[m] for n, m in vars(package).items() if ismodule(m) and m in modules}
        compiled = SimpleNamespace(compiled=lambda dtype: True)  # as if there were a GPU
        monkeypatch.setattr(choose, part, SimpleNamespace(launch=compiled, **found))
    return names


OPERATIONS = {
    "convolution": ("conv_forward", "conv_input_grad", "conv_weight_grad"),
    "convolution and max-pooling": ("conv_pool", "conv_pool_grads"),
    "max-pooling": ("max_pool", "max_unpool"),
    "reading at the maxima": ("max_take",),
    "average pooling": ("avg_pool", "avg_unpool"),
    "batch normalisation": ("batch_norm_moments", "batch_norm_affine", "batch_norm_grads"),
    "scale and running moments": ("batch_norm_settle",),
    "batch statistics in one": ("batch_norm_statistics",),
    "matrix product": ("product",),
    "dense layer": ("linear",),
    "bias and relu": ("bias_relu",),
    "cross-entropy": ("cross_entropy",),
    "gradient of relu": ("keep_positive",),
    "softmax": ("softmax", "softmax_grad", "log_softmax", "log_softmax_grad"),
    "standardisation": ("standardize", "standardize_grad"),
    "dropout's mask": ("dropout_mask",),
}


@pytest.mark.parametrize("row", choose.TABLE)
def test_all_versions_of_an_operation_take_the_same_arguments(row):
    if row == "optimizer step":  # tests/optim proves these equal to the formulas
        return
    for name in OPERATIONS[row.partition(",")[0]]:
        found = {
            tuple(inspect.signature(getattr(module, name)).parameters)
            for module in choose.TABLE[row]
            if module
        }
        assert len(found) == 1, found


def on_gpu(*shape, dtype="f"):
    """What is no array of NumPy, though it has the attributes of one."""
    return SimpleNamespace(shape=shape, dtype=np.dtype(dtype), size=int(np.prod(shape)))


@pytest.mark.parametrize(
    ("channels", "size", "module"),
    [
        (15, (1, 3), "cpu.columns"),
        (16, (1, 3), "cpu.rows"),
        (5, (3, 9), "cpu.columns"),
        (6, (3, 1), "cpu.rows"),
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
        (X, "cpu.pool"),
        (X.astype("d"), "cpu.pool"),
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
        ((16, 16), "cpu.pool"),
        ((2, 128), "cpu.pool"),
        ((128, 2), "cpu.pool"),
        ((1, 257), "portable"),
        ((257, 1), "portable"),
    ],
)
def test_maxima_of_more_than_256_taps_are_portable(ran, size, module):
    kernels.max_pool(np.ones((1, 1, *size), "f"), kernels.window("max_pool2d", size, size))
    assert ran == [f"{module}.max_pool"]


@pytest.mark.parametrize(("taps", "module"), [(255, "cpu.pool"), (256, "portable")])
def test_relu_takes_one_number_of_the_index(ran, taps, module):
    window = kernels.window("max_pool2d", (1, taps), (1, taps))
    kernels.max_pool(np.ones((1, 1, 1, taps), "f"), window, rectify=True)
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
    kernels.max_take(x, index, window)
    kernels.avg_pool(x, window)
    kernels.avg_unpool(g, window)
    calls = ("conv_forward", "conv_forward", "conv_input_grad", "conv_weight_grad")
    pools = ("max_pool", "max_unpool", "max_take", "avg_pool", "avg_unpool")
    right = [f"gpu.convolution.{call}" for call in calls] + [f"gpu.pool.{call}" for call in pools]
    assert ran == right
    ran.clear()
    kernels.max_pool(on_gpu(1, 1, 1, 257), kernels.window("max_pool2d", (1, 257), (1, 257)))
    kernels.max_unpool(g, index.astype(np.int64), window)
    kernels.max_take(x, index.astype(np.int64), window)
    assert ran == [f"portable.{call}" for call in ("max_pool", "max_unpool", "max_take")]


def test_what_runs_in_one_launch_does_so_on_a_gpu_alone(ran):
    assert kernels.keep_positive(X, X) is None
    assert kernels.keep_positive(on_gpu(2), on_gpu(1, 2)) is None
    assert choose.linear(X[0, 0], X[0, 0], X[0, 0, 0], True) is None
    assert choose.linear(on_gpu(129, 2), on_gpu(3, 2), None, True) is None
    assert choose.linear(on_gpu(3, 2), on_gpu(17, 2), None, True) is None
    assert choose.bias_relu(X[0, 0], X[0, 0, 0]) is None
    assert ran == []
    kernels.cross_entropy(X, X)
    assert ran == ["portable.cross_entropy"]
    ran.clear()
    kernels.cross_entropy(on_gpu(2, 3), X)
    kernels.keep_positive(on_gpu(2), on_gpu(2))
    choose.linear(on_gpu(128, 2), on_gpu(16, 2), on_gpu(16), True)
    choose.bias_relu(on_gpu(5, 17), on_gpu(17))
    calls = "loss.cross_entropy", "elementwise.keep_positive", "product.linear"
    calls = *calls, "elementwise.bias_relu"
    assert ran == [f"gpu.{call}" for call in calls]


def test_products_and_batch_normalisation_go_by_device_and_type(ran):
    for x, product, norm in (
        (X, "cpu.product", "cpu.batch_norm"),
        (X.astype("e"), "portable", "portable"),
        (X[:0], "portable", "portable"),
        (on_gpu(2, 4, 5, 5), "gpu.product", "gpu.batch_norm"),
    ):
        ran.clear()
        kernels.product(x, x)
        kernels.batch_norm_moments(x)
        kernels.batch_norm_affine(x, x, x, x)
        kernels.batch_norm_grads(x, x, x, x, x)
        calls = ("moments", "affine", "grads")
        assert ran == [f"{product}.product", *(f"{norm}.batch_norm_{call}" for call in calls)]
    ran.clear()
    wide = X.astype("d")
    kernels.product(X, wide)
    kernels.batch_norm_affine(X, X, X, wide)
    kernels.batch_norm_grads(wide, X, X, X, X)
    assert ran == ["portable.product", "portable.batch_norm_affine", "portable.batch_norm_grads"]


@pytest.mark.parametrize(
    ("x", "size", "engine"),
    [
        (np.ones((2, 5, 8, 8), "f"), (3, 3), "cpu.conv_pool"),
        (np.ones((2, 6, 8, 8), "f"), (3, 3), None),
        (np.ones((2, 6, 8, 8), "f"), (2, 3), "cpu.conv_pool"),
        (on_gpu(2, 7, 8, 8), (3, 3), "gpu.convolution"),
        (on_gpu(2, 8, 8, 8), (3, 3), None),
        (on_gpu(2, 4, 8, 8), (4, 4), "gpu.convolution"),
        (np.ones((2, 5, 8, 8), "e"), (3, 3), None),
    ],
)
def test_convolution_and_pooling_in_one_want_few_channels(ran, x, size, engine):
    window = kernels.window("conv2d", (8, 8), size, 1, "same")
    pool = kernels.window("max_pool2d", (8, 8), 2, 2)
    w = np.ones((3, x.shape[1], *size), x.dtype) if isinstance(x, np.ndarray) else x
    kernels.conv_pool(x, w, None, window, 1, pool, False)
    kernels.conv_pool(x, w, None, window, 2, pool, False)
    kernels.conv_pool(x, w, np.ones(3, "e"), window, 1, pool, False)  # a bias of another type
    assert ran == ([f"{engine}.conv_pool"] if engine else [])


def rows(*arrays):
    for array in arrays:
        array.flags = SimpleNamespace(c_contiguous=True)
    return arrays


def test_optimizer_steps_go_by_device_type_and_memory(ran):
    single, gaps = np.ones(2, "f"), np.ones((4, 4), "f")[:, ::2]
    there, other = rows(on_gpu(2), on_gpu(2))
    spread = on_gpu(2)
    spread.flags = SimpleNamespace(c_contiguous=False)
    steps = [
        (single, single, 1, [single], {}),
        (gaps, gaps, 1, [], {}),
        (there, other, 1, [], {}),
        (there, spread, 1, [], {}),
        (there, other, 1, [spread], {}),
        (single, single.astype("d"), 1, [], {}),
        (single.astype("e"), single.astype("e"), 1, [], {}),
        (single, single, 1, [single.astype("d")], {}),
    ]
    left = kernels.update("sgd", steps)
    assert [id(step) for step in left] == [id(step) for step in steps[3:]]
    assert ran == ["cpu.update.update", "gpu.update.update"]


def test_an_update_is_one_launch_for_each_type(ran, monkeypatch):
    launched = []
    monkeypatch.setattr(
        choose.TABLE["optimizer step"][1], "update", lambda *a: launched.append(a), raising=False
    )
    steps = [(*rows(on_gpu(2, dtype=d), on_gpu(2, dtype=d)), 1, [], {}) for d in "fdf"]
    assert kernels.update("adam", steps) == []
    assert launched == [("adam", [steps[0], steps[2]]), ("adam", [steps[1]])]
