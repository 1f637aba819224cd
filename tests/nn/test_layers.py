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
    assert cls.__doc__ and cls.__module__ == "minidl.nn.layers"
    assert repr(layer).startswith(f"{cls.__name__}(")


def test_simple_layers_know_their_options():
    assert str(inspect.signature(nn.MaxPool2d)).startswith(
        "(size: Any, stride: Any = None, padding"
    )
    assert nn.MaxPool2d(2).size == 2 and nn.MaxPool2d(2, 3).stride == 3
    assert repr(nn.LeakyReLU()) == "LeakyReLU(slope=0.01)"
    for make in (nn.MaxPool2d, lambda: nn.ReLU(3), lambda: nn.ELU(beta=1)):
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
    random = md.backend.generator().bit_generator.state
    assert nn.Dropout(0.9).eval()(x) is x
    assert nn.Dropout(0.0)(x) is x
    assert md.backend.generator().bit_generator.state == random
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
        layer.weight, layer.bias = w, b
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
        layer.weight, layer.bias = w, b
        return layer(x)

    gradcheck(f, normal(2, 3, 4), normal(3, 4, seed=1), normal(3, 4, seed=2), order=2)


def test_sequential_is_a_list_of_layers():
    a, b, c = nn.Dense(2, 3), nn.Tanh(), nn.Dense(3, 1)
    net = nn.Sequential(a, b, c)
    assert net.layers == [a, b, c] and list(net) == [a, b, c] and len(net) == 3
    assert net[0] is a and net[-1] is c and list(net[1:]) == [b, c]
    assert isinstance(net[1:], nn.Sequential)
    x = normal(4, 2)
    assert np.array_equal(net(x).numpy(), c(b(a(x))).numpy())
    assert [n for n, _ in net.named_parameters()] == ["0.weight", "0.bias", "2.weight", "2.bias"]
    x = md.tensor(x)
    assert nn.Sequential()(x) is x
    nested = nn.Sequential(nn.Sequential(a), b)
    assert [n for n, _ in nested.named_parameters()] == ["0.0.weight", "0.0.bias"]
    for wrong in ([a, b], np.tanh, nn.Tanh):
        with pytest.raises(ConfigError, match=r"Sequential: expected layers, got .* at position 1"):
            nn.Sequential(a, wrong)


def kinky(shape, seed):
    """Images with ties, zeros of both signs, windows without a positive value, NaN and inf."""
    rng = np.random.default_rng(seed)
    x = rng.integers(-3, 3, shape).astype(np.float32)
    x[0, 0, :4, :4] = -np.abs(x[0, 0, :4, :4])
    x[x == 0] = rng.choice(np.array([0.0, -0.0], np.float32), (x == 0).sum())
    x[1, 0, 0, :3] = np.nan, np.inf, -np.inf
    return x


@pytest.mark.parametrize(
    ("size", "stride", "padding"), [(2, 2, 0), (3, 1, 1), (3, 2, 0), (2, 3, 1)]
)
def test_pooling_before_relu_is_the_same(size, stride, padding):
    shape = (3, 2, 7, 8)
    for seed in range(20):
        x = md.tensor(kinky(shape, seed), requires_grad=True)
        y = nn.Sequential(nn.ReLU(), nn.MaxPool2d(size, stride, padding))(x)
        x2 = md.tensor(x, requires_grad=True)
        y2 = ops.max_pool2d(ops.relu(x2), size, stride=stride, padding=padding)
        assert np.array_equal(y.numpy(), y2.numpy(), equal_nan=True)
        g = normal(*y.shape, seed=seed).astype(np.float32)
        y.backward(g)
        y2.backward(g)
        assert np.array_equal(x.grad.numpy(), x2.grad.numpy())


def order_of(net, x):
    order = []

    def visit(y):
        if y.node is not None:
            for parent, _ in y.node.inputs:
                visit(parent)
            order.append(y.node.name)

    visit(net(x))
    return order


def test_relu_is_taken_after_pooling_only_where_nobody_looks():
    x = md.tensor(normal(1, 1, 4, 4), requires_grad=True)
    net = nn.Sequential(nn.ReLU(), nn.MaxPool2d(2))
    assert order_of(net, x) == ["max_pool2d", "relu"]
    net[0].hooks.append(lambda module, y: None)
    assert order_of(net, x) == ["relu", "max_pool2d"]
    net[0].hooks.clear()
    net[1].hooks.append(lambda module, y: None)
    assert order_of(net, x) == ["relu", "max_pool2d"]
    net[1].hooks.clear()
    net[0].forward = ops.relu
    assert order_of(net, x) == ["relu", "max_pool2d"]
    for others in ((nn.ReLU(), nn.AvgPool2d(2)), (nn.Tanh(), nn.MaxPool2d(2))):
        assert order_of(nn.Sequential(*others), x)[-1] in ("avg_pool2d", "max_pool2d")
    twice = nn.Sequential(nn.ReLU(), nn.ReLU(), nn.MaxPool2d(2))
    assert order_of(twice, x) == ["relu", "max_pool2d", "relu"]
    assert [type(m) for m in net.layers] == [nn.ReLU, nn.MaxPool2d]


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
        block.branch[1].weight = w
        return block(x)

    gradcheck(f, normal(2, 3), normal(3, 3, seed=1), order=2)


def test_residual_refuses_to_broadcast():
    for branch in (nn.Dense(3, 1), nn.Dense(3, 4)):
        with pytest.raises(ShapeError, match=r"Residual: expected .* \(2, 3\), got \(2,"):
            nn.Residual(branch)(normal(2, 3))


def test_convolution_and_pooling_run_as_one_only_where_nobody_looks_in_between():
    x = md.tensor(normal(2, 1, 6, 6), requires_grad=True)
    net = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
    in_turn, as_one = ["conv2d", "max_pool2d", "relu"], ["conv2d", "relu"]
    assert order_of(net, x) == as_one
    for layer in net:
        layer.hooks.append(lambda module, y: None)
        assert "max_pool2d" in order_of(net, x)
        layer.hooks.clear()
    net[0].forward = net[0].forward
    assert order_of(net, x) == in_turn

    class Own(nn.Conv2d):
        def forward(self, x):
            return super().forward(x) * 2

    conv = {"in_channels": 1, "out_channels": 3, "kernel_size": 3, "padding": 1}
    for first, then in (
        (Own(**conv), nn.MaxPool2d(2)),
        (nn.ConvTranspose2d(**conv), nn.MaxPool2d(2)),
        (nn.Conv2d(**conv), nn.AvgPool2d(2)),
        (nn.Conv2d(**conv), nn.MaxPool2d(2, stride=1)),
        (nn.Conv2d(**conv), nn.MaxPool2d(2, padding=1)),
    ):
        assert order_of(nn.Sequential(first, then), x)[-1] in ("max_pool2d", "avg_pool2d")
    assert order_of(nn.Sequential(nn.weight_norm(nn.Conv2d(**conv)), nn.MaxPool2d(2)), x)[-1] == (
        "conv2d"
    )


@pytest.mark.parametrize("bias", [True, False])
def test_convolution_and_pooling_as_one_have_the_derivatives_of_the_two(bias):
    conv, pool = nn.Conv2d(2, 3, 3, stride=(1, 2), padding=1, bias=bias), nn.MaxPool2d((2, 1))
    x, w = normal(2, 2, 4, 5), normal(3, 2, 3, 3, seed=1)
    values = (x, w, normal(3, seed=2)) if bias else (x, w)

    def f(x, w, b=None):
        conv.weight, conv.bias = w, b
        return nn.Sequential(conv, pool)(x)

    def in_turn(x, w, b=None):
        return ops.max_pool2d(ops.conv2d(x, w, b, stride=(1, 2), padding=1), (2, 1))

    assert f(*map(md.as_tensor, values)).node is None
    np.testing.assert_allclose(f(*values).numpy(), in_turn(*values).numpy(), rtol=1e-12)
    gradcheck(f, *values, order=2)
    u = normal(2, 3, 2, 3, seed=3)
    for one, two in zip(md.vjp(f, *values)[1](u), md.vjp(in_turn, *values)[1](u), strict=True):
        np.testing.assert_allclose(one.numpy(), two.numpy(), rtol=1e-10, atol=1e-12)


def test_a_hook_that_knows_pooling_is_given_the_pooled_output():
    seen = []

    class Doubling:
        def __call__(self, module, y):
            raise AssertionError("the convolution's own output is not made")

        def pooled(self, module, x, y):
            seen.append((module, x, y.shape))
            return y * 2

    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.MaxPool2d(2))
    x = normal(2, 1, 6, 6).astype(np.float32)
    plain = net(x).numpy()
    net[0].hooks.append(Doubling())
    np.testing.assert_array_equal(net(x).numpy(), 2 * plain)
    assert seen[0][0] is net[0] and seen[0][1] is x and seen[0][2] == (2, 3, 2, 2)
