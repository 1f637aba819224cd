"""Layers of one operation, dropout, normalisation, and layers made of layers."""

import inspect

import numpy as np
import pytest

import minidl as md
from minidl import nn, ops
from minidl.errors import ConfigError, ShapeError
from minidl.testing import gradcheck
from tests.device import fetch


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


IMAGES = (2, 3, 6, 8)
SIMPLE = [
    (nn.MaxPool2d, (2,), {}, ops.max_pool2d, (2,), {}),
    (nn.MaxPool2d, (3, 2, 1), {}, ops.max_pool2d, (3,), {"stride": 2, "padding": 1}),
    (nn.MaxPool2d, (3,), {"stride": (1, 2)}, ops.max_pool2d, (3,), {"stride": (1, 2)}),
    (nn.AvgPool2d, (2, 1), {}, ops.avg_pool2d, (2,), {"stride": 1}),
    (nn.AvgPool2d, (2,), {"padding": 1}, ops.avg_pool2d, (2,), {"padding": 1}),
    (nn.GlobalAvgPool2d, (), {}, ops.global_avg_pool2d, (), {}),
    (nn.Flatten, (), {}, ops.flatten, (1,), {}),
    (nn.ReLU, (), {}, ops.relu, (), {}),
    (nn.LeakyReLU, (), {}, ops.leaky_relu, (0.01,), {}),
    (nn.LeakyReLU, (0.3,), {}, ops.leaky_relu, (0.3,), {}),
    (nn.ELU, (), {"alpha": 0.7}, ops.elu, (0.7,), {}),
    (nn.SELU, (), {}, ops.selu, (), {}),
    (nn.GELU, (), {}, ops.gelu, (), {}),
    (nn.GELU, (), {"approximate": "tanh"}, ops.gelu, ("tanh",), {}),
    (nn.Tanh, (), {}, ops.tanh, (), {}),
    (nn.Sigmoid, (), {}, ops.sigmoid, (), {}),
    (nn.Softmax, (), {}, ops.softmax, (-1,), {}),
    (nn.Softmax, (), {"axis": 1}, ops.softmax, (1,), {}),
]


@pytest.mark.parametrize(("cls", "args", "options", "op", "given", "named"), SIMPLE)
def test_a_simple_layer_is_its_operation(cls, args, options, op, given, named):
    layer = cls(*args, **options)
    x = normal(*IMAGES).astype(np.float32)
    assert np.array_equal(layer(x).numpy(), op(x, *given, **named).numpy())
    assert layer.parameters() == []
    assert cls.__doc__
    assert repr(layer).startswith(f"{cls.__name__}(")


def test_simple_layers_know_their_options():
    assert str(inspect.signature(nn.MaxPool2d)).startswith(
        "(size: Any, stride: Any = None, padding"
    )
    assert nn.MaxPool2d(2).size == 2 and nn.MaxPool2d(2, 3).stride == 3
    assert repr(nn.LeakyReLU()) == "LeakyReLU(slope=0.01)"
    for make in (nn.MaxPool2d, lambda: nn.LeakyReLU(3, 4), lambda: nn.ELU(beta=1)):
        with pytest.raises(TypeError):
            make()


def test_dropout_in_training():
    md.manual_seed(0)
    x = np.full((200, 500), 3.0, np.float32)
    y = nn.Dropout(0.3)(x).numpy()
    assert y.dtype == np.float32
    assert np.unique(y).tolist() == [0, np.float32(3.0) * np.float32(1 / 0.7)]
    assert (y == 0).mean() == pytest.approx(0.3, abs=5 * np.sqrt(0.21 / y.size))
    assert y.mean() == pytest.approx(3, rel=0.01)


def test_the_seed_decides_what_dropout_drops():
    x, layer = np.ones((4, 50)), nn.Dropout(0.5)
    md.manual_seed(1)
    a, b = layer(x).numpy(), layer(x).numpy()
    md.manual_seed(1)
    assert np.array_equal(layer(x).numpy(), a)
    assert not np.array_equal(a, b)


def test_dropout_drops_the_gradient_too():
    x = md.tensor(np.ones((10, 10)), requires_grad=True)
    y = nn.Dropout(0.5)(x)
    y.backward(np.full((10, 10), 2.0, np.float32))
    assert np.array_equal(x.grad.numpy(), 2 * y.numpy())


def test_dropout_does_nothing_in_prediction():
    x = md.tensor(normal(3, 4))
    random = md.rng.generator().bit_generator.state
    assert nn.Dropout(0.9).eval()(x) is x
    assert nn.Dropout(0.0)(x) is x
    assert md.rng.generator().bit_generator.state == random
    for p in (-0.1, 1.0, 1.5, float("nan"), "half", None, True):
        with pytest.raises(ConfigError, match=r"Dropout: expected p in \[0, 1\), got"):
            nn.Dropout(p)


def by_channel(v):
    return np.reshape(v, (1, -1, 1, 1))


def test_batch_norm_in_training():
    layer = nn.BatchNorm2d(3, momentum=0.3, eps=1e-3)
    layer.weight, layer.bias = nn.Parameter([1, 2, 3]), nn.Parameter([0.5, 0, -1])
    assert layer.running_mean.numpy().tolist() == [0, 0, 0]
    assert layer.running_var.numpy().tolist() == [1, 1, 1]
    mean, var = np.zeros(3), np.ones(3)
    for step in range(3):
        x = (5 * normal(4, 3, 2, 5, seed=step) + 2).astype(np.float32)
        m, v = x.mean((0, 2, 3)), x.var((0, 2, 3))
        expected = (x - by_channel(m)) / np.sqrt(by_channel(v) + 1e-3)
        expected = expected * by_channel([1, 2, 3]) + by_channel([0.5, 0, -1])
        y = layer(x).numpy()
        assert y.dtype == np.float32
        assert np.allclose(y, expected, atol=1e-5)
        mean, var = 0.7 * mean + 0.3 * m, 0.7 * var + 0.3 * v * 40 / 39
    assert np.allclose(layer.running_mean.numpy(), mean, atol=1e-5)
    assert np.allclose(layer.running_var.numpy(), var, rtol=1e-5)
    assert layer.running_var.dtype == np.float32
    assert layer.num_batches_tracked.numpy() == 3
    assert layer.num_batches_tracked.dtype == np.int64


def test_batch_norm_in_prediction():
    layer = nn.BatchNorm2d(2).eval()
    state = {"running_mean": [1, 2], "running_var": [4, 9], "weight": [2, 3], "bias": [0.5, 1]}
    layer.load_state_dict(state | {"num_batches_tracked": 0})
    state = fetch(layer.state_dict())
    x = normal(1, 2, 1, 1)
    expected = (x - by_channel([1, 2])) / np.sqrt(by_channel([4, 9]) + 1e-5)
    expected = expected * by_channel([2, 3]) + by_channel([0.5, 1])
    assert np.allclose(layer(x).numpy(), expected)
    assert all(np.array_equal(state[n], a) for n, a in fetch(layer.state_dict()).items())


@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_gradients(training):
    layer = nn.BatchNorm2d(3, eps=0.1).train(training)
    layer.running_var = md.tensor([0.5, 1, 2])

    def f(x, w, b):
        vars(layer).update(weight=w, bias=b)
        return layer(x)

    gradcheck(f, normal(4, 3, 2, 2), normal(3, seed=1), normal(3, seed=2), order=2)


def test_batch_norm_explains_what_it_cannot_normalise():
    layer = nn.BatchNorm2d(3)
    for shape in ((1, 3, 1, 1), (0, 3, 2, 2), (4, 2, 2, 2), (4, 3), (4, 3, 2)):
        with pytest.raises(ShapeError, match=r"BatchNorm2d\(3\): expected images \(N, 3, H, W\)"):
            layer(np.zeros(shape, np.float32))
    assert layer.num_batches_tracked.numpy() == 0
    assert layer.eval()(np.zeros((1, 3, 1, 1), np.float32)).shape == (1, 3, 1, 1)
    with pytest.raises(ConfigError, match="momentum"):
        nn.BatchNorm2d(3, momentum=1.1)
    with pytest.raises(ConfigError, match="eps"):
        nn.BatchNorm2d(3, eps=0)


@pytest.mark.parametrize("shape", [8, (8,), (6, 8), (3, 6, 8)])
def test_layer_norm(shape):
    layer = nn.LayerNorm(shape, eps=1e-3)
    own = (shape,) if isinstance(shape, int) else shape
    axes = tuple(range(-len(own), 0))
    w, b = normal(*own, seed=1), normal(*own, seed=2)
    x = normal(*IMAGES)
    layer.weight, layer.bias = nn.Parameter(w), nn.Parameter(b)
    m, v = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
    assert np.allclose(layer(x).numpy(), (x - m) / np.sqrt(v + 1e-3) * w + b, atol=1e-5)
    assert layer(x.astype(np.float32)).dtype == np.float32
    with pytest.raises(ShapeError, match="LayerNorm: expected last axes"):
        layer(normal(2, 3, 6, 7))


def test_layer_norm_gradients():
    layer = nn.LayerNorm((3, 4))

    def f(x, w, b):
        vars(layer).update(weight=w, bias=b)
        return layer(x)

    gradcheck(f, normal(2, 3, 4), normal(3, 4, seed=1), normal(3, 4, seed=2), order=2)


def test_residual_adds():
    branch, shortcut = nn.Dense(3, 3), nn.Dense(3, 3)
    x = normal(2, 3)
    y = branch(x).numpy()
    assert np.allclose(nn.Residual(branch)(x).numpy(), x + y)
    assert np.allclose(nn.Residual(branch, scale=0.25)(x).numpy(), x + 0.25 * y)
    both = nn.Residual(branch, shortcut, 2.0)
    assert np.allclose(both(x).numpy(), shortcut(x).numpy() + 2 * y)
    assert [n for n, _ in both.named_parameters()] == [
        *("branch.weight", "branch.bias", "shortcut.weight", "shortcut.bias"),
    ]
    assert len(nn.Residual(branch).parameters()) == 2


def test_residual_gradients():
    block = nn.Residual(nn.Sequential(nn.Tanh(), nn.Dense(3, 3)), scale=0.5)

    def f(x, w):
        vars(block.branch[1]).update(weight=w)
        return block(x)

    gradcheck(f, normal(2, 3), normal(3, 3, seed=1), order=2)


def test_residual_refuses_to_broadcast():
    for branch in (nn.Dense(3, 1), nn.Dense(3, 4)):
        with pytest.raises(ShapeError, match=r"Residual: expected .* \(2, 3\), got \(2,"):
            nn.Residual(branch)(normal(2, 3))
