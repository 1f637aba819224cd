"""Dense, convolutions and weight normalisation."""

import copy

import numpy as np
import pytest

import minidl as md
from minidl import nn, ops
from minidl.errors import ConfigError, ShapeError
from minidl.nn import weight_norm
from minidl.testing import gradcheck


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def test_dense_is_x_times_w_transposed_plus_b():
    layer = nn.Dense(4, 3)
    layer.bias = nn.Parameter([1, 2, 3])
    x = normal(5, 4).astype(np.float32)
    w, b = layer.weight.numpy(), layer.bias.numpy()
    assert w.shape == (3, 4)
    assert np.allclose(layer(x).numpy(), x @ w.T + b, rtol=1e-6)
    assert layer(x).dtype == np.float32
    assert np.allclose(layer(normal(2, 5, 4)).numpy(), normal(2, 5, 4) @ w.T + b)
    assert layer(x[0]).shape == (3,)


def test_dense_without_bias():
    layer = nn.Dense(4, 3, bias=False)
    assert [n for n, _ in layer.named_parameters()] == ["weight"]
    assert np.allclose(layer(normal(2, 4)).numpy(), normal(2, 4) @ layer.weight.numpy().T)


def test_dense_gradients():
    layer = nn.Dense(4, 3)

    def f(x, w, b):
        vars(layer).update(weight=w, bias=b)
        return layer(x)

    gradcheck(f, normal(5, 4), normal(3, 4, seed=1), normal(3, seed=2), order=2)


@pytest.mark.parametrize("shape", [(2, 1, 28, 28), (2, 100), (784, 2), ()])
def test_dense_explains_features_that_do_not_fit(shape):
    with pytest.raises(ShapeError, match=r"Dense: expected x with 784 features .*Flatten\(\)") as e:
        nn.Dense(784, 10)(np.zeros(shape, np.float32))
    assert str(shape) in str(e.value)


@pytest.mark.parametrize("size", [0, -1, 2.0, "3", True, None])
def test_sizes_are_whole_and_positive(size):
    for make in (
        lambda: nn.Dense(size, 2),
        lambda: nn.Dense(2, size),
        lambda: nn.Conv2d(size, 2, 3),
        lambda: nn.Conv2d(2, size, 3),
        lambda: nn.Conv2d(2, 2, 3, groups=size),
        lambda: nn.BatchNorm2d(size),
        lambda: nn.LayerNorm(size),
        lambda: nn.LayerNorm((2, size)),
    ):
        with pytest.raises(ConfigError, match="an int >= 1, got"):
            make()


OPTIONS = [
    {},
    {"stride": 2, "padding": 1},
    {"stride": (1, 2), "padding": (0, 1), "dilation": 2},
    {"groups": 2, "padding": 2, "bias": False},
]


@pytest.mark.parametrize("options", [*OPTIONS, {"padding": "same", "stride": 2}])
def test_conv2d_is_the_operation(options):
    layer = nn.Conv2d(4, 6, (3, 2), **options)
    bias = options.get("bias", True)
    assert layer.weight.shape == (6, 4 // options.get("groups", 1), 3, 2)
    if bias:
        layer.bias = nn.Parameter(normal(6))
    x = normal(2, 4, 8, 9).astype(np.float32)
    given = {k: v for k, v in options.items() if k != "bias"}
    expected = ops.conv2d(x, layer.weight, layer.bias, **given)
    assert np.array_equal(layer(x).numpy(), expected.numpy())
    layer(x).sum().backward()
    assert layer.weight.grad.shape == layer.weight.shape
    assert (layer.bias is None) is not bias


@pytest.mark.parametrize("options", [*OPTIONS, {"stride": 2, "output_padding": 1}])
def test_conv_transpose2d_is_the_operation(options):
    layer = nn.ConvTranspose2d(4, 6, (3, 2), **options)
    assert layer.weight.shape == (4, 6 // options.get("groups", 1), 3, 2)
    if layer.bias is not None:
        layer.bias = nn.Parameter(normal(6))
    x = normal(2, 4, 5, 6).astype(np.float32)
    given = {k: v for k, v in options.items() if k != "bias"}
    expected = ops.conv_transpose2d(x, layer.weight, layer.bias, **given)
    assert np.array_equal(layer(x).numpy(), expected.numpy())
    assert layer(x).shape[1] == 6


def test_convolutions_check_their_options():
    with pytest.raises(ConfigError, match=r"Conv2d: expected groups .*\(3, 4\), got 2"):
        nn.Conv2d(3, 4, 3, groups=2)
    with pytest.raises(ConfigError, match=r"ConvTranspose2d: expected groups .*\(4, 3\), got 2"):
        nn.ConvTranspose2d(4, 3, 3, groups=2)
    for options in ({"stride": 0}, {"dilation": -1}, {"padding": "full"}, {"padding": -1}):
        with pytest.raises(ShapeError, match="Conv2d: expected"):
            nn.Conv2d(1, 1, 3, **options)
    for size in (0, (3, 3, 3), 2.5):
        with pytest.raises(ShapeError, match="Conv2d: expected size"):
            nn.Conv2d(1, 1, size)
    with pytest.raises(ShapeError, match="conv2d: expected x with 1 channel"):
        nn.Conv2d(1, 1, 3)(np.zeros((2, 3, 8, 8), np.float32))


LAYERS = {"Dense": lambda: nn.Dense(4, 3), "Conv2d": lambda: nn.Conv2d(2, 3, 2, groups=1)}
INPUTS = {"Dense": (5, 4), "Conv2d": (2, 2, 3, 3)}
layers = pytest.mark.parametrize("kind", LAYERS)


def lengths(weight):
    return np.sqrt((weight.numpy().reshape(len(weight.numpy()), -1) ** 2).sum(1))


@layers
def test_weight_norm_alone_changes_nothing(kind):
    layer = LAYERS[kind]()
    before = layer(normal(*INPUTS[kind])).numpy()
    assert weight_norm(layer) is layer
    assert isinstance(layer, getattr(nn, kind))
    assert [n for n, _ in layer.named_parameters()] == ["bias", "weight_g", "weight_v"]
    assert layer.weight_g.shape == (3, *[1] * (layer.weight_v.ndim - 1))
    assert np.allclose(layer(normal(*INPUTS[kind])).numpy(), before, rtol=1e-5)


@layers
def test_weight_norm_sets_the_lengths(kind):
    assert np.allclose(lengths(weight_norm(LAYERS[kind](), 2.5).weight), 2.5, rtol=1e-6)
    for g in ([1.0, 2.0, 3.0], np.array([[1.0], [2.0], [3.0]])):
        assert np.allclose(lengths(weight_norm(LAYERS[kind](), g).weight), [1, 2, 3], rtol=1e-6)
    layer = weight_norm(LAYERS[kind](), 2)
    layer.weight_v.data *= 7
    assert np.allclose(lengths(layer.weight), 2, rtol=1e-6)
    with pytest.raises(ShapeError, match=r"weight_norm: expected 1 or 3 values of g, got \(2,\)"):
        weight_norm(LAYERS[kind](), [1.0, 2.0])


@layers
def test_weight_norm_gradients(kind):
    layer = weight_norm(LAYERS[kind]())

    def f(x, g, v):
        vars(layer).update(weight_g=g, weight_v=v)
        return layer(x)

    g, v = layer.weight_g, layer.weight_v
    gradcheck(f, normal(*INPUTS[kind]), normal(*g.shape, seed=1), normal(*v.shape, seed=2), order=2)


@layers
def test_the_gradient_by_v_is_orthogonal_to_v(kind):
    layer = weight_norm(LAYERS[kind](), 3.0)
    (layer(normal(*INPUTS[kind])) ** 2).sum().backward()
    v, dv = (t.numpy().reshape(3, -1) for t in (layer.weight_v, layer.weight_v.grad))
    cosine = (v * dv).sum(1) / np.linalg.norm(v, axis=1) / np.linalg.norm(dv, axis=1)
    assert np.abs(cosine).max() < 1e-5
    assert np.abs(layer.weight_g.grad.numpy()).min() > 0


def test_weight_norm_refuses():
    layer = weight_norm(nn.Dense(2, 2))
    with pytest.raises(ConfigError, match="without it, got WeightNormDense"):
        weight_norm(layer)
    for other in (nn.ReLU(), nn.BatchNorm2d(2), nn.ConvTranspose2d(2, 2, 3), nn.Sequential()):
        with pytest.raises(ConfigError, match="expected a Dense or Conv2d"):
            weight_norm(other)
    dead = nn.Dense(2, 2)
    dead.weight.data[1] = 0
    with pytest.raises(ConfigError, match="no direction"):
        weight_norm(dead)
    assert [n for n, _ in dead.named_parameters()] == ["weight", "bias"]


def test_a_copy_of_a_weight_normed_layer_is_its_own():
    net = nn.Sequential(weight_norm(nn.Dense(2, 2), 1.0))
    twin = copy.deepcopy(net)
    twin[0].weight_g.data[:] = 5
    assert np.allclose(lengths(net[0].weight), 1)
    assert np.allclose(lengths(twin[0].weight), 5)
    net.load_state_dict(twin.state_dict())
    assert np.allclose(lengths(net[0].weight), 5)


def test_weight_norm_trains():
    md.manual_seed(0)
    layer = weight_norm(nn.Dense(3, 1), 1.0)
    optimizer = md.optim.SGD(layer.parameters(), 0.1)
    x, w = normal(64, 3).astype(np.float32), np.array([[1.0], [-2.0], [0.5]], np.float32)
    for _ in range(200):
        optimizer.zero_grad()
        loss = ops.mse_loss(layer(x), x @ w)
        loss.backward()
        optimizer.step()
    assert loss.item() < 1e-6
    assert np.allclose(layer.weight.numpy(), w.T, atol=1e-2)
