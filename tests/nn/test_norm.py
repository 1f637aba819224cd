"""BatchNorm2d and LayerNorm: values, running statistics, gradients."""

import numpy as np
import pytest

import minidl as md
from minidl import nn, ops
from minidl.errors import ConfigError, ShapeError
from minidl.testing import gradcheck
from tests.device import fetch
from tests.nn.drawn import IMAGES, normal


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


@pytest.mark.host
def test_float16_is_normalised_where_its_squares_overflow():
    x = (300 * normal(64, 2, 32, 32)).astype("f2")
    layer = nn.BatchNorm2d(2)
    y = layer(md.as_tensor(x)).numpy()
    assert abs(y.std() - 1) < 0.01 and np.isfinite(layer.running_var.numpy()).all()
    rows = np.array([[-300, 300, 0, 150]], "f2")
    wide = nn.LayerNorm(4)(rows.astype("f4")).numpy()
    np.testing.assert_allclose(nn.LayerNorm(4)(md.as_tensor(rows)).numpy(), wide, atol=2e-3)
    assert ops.std(md.as_tensor(rows)).item() == pytest.approx(rows.astype("f8").std(), rel=1e-3)


@pytest.mark.host
def test_a_large_constant_is_normalised_to_0():
    for value, size in ((1e8 + 24, 1000), (100.1, 768)):
        y = nn.LayerNorm(size)(np.full((1, size), value, "f4")).numpy()
        assert np.abs(y).max() < 1e-3


def test_a_batch_in_training_does_not_change_what_was_computed_before():
    layer = nn.BatchNorm2d(2)
    x, other = md.tensor(normal(4, 2, 3, 3)), 5 + 3 * normal(4, 2, 3, 3)
    y = layer.eval()(x)
    y.sum().backward(retain_graph=True)
    expected = layer.weight.grad.numpy().copy()
    layer.zero_grad()
    layer.train()(other)
    y.sum().backward()
    np.testing.assert_array_equal(layer.weight.grad.numpy(), expected)


def test_images_that_need_no_gradient_get_none():
    x = md.tensor(np.random.default_rng(0).normal(size=(4, 2, 3, 3)))
    layer = md.nn.BatchNorm2d(2)
    (layer(x) ** 2).sum().backward()
    assert x.grad is None and layer.weight.grad is not None


def test_a_batch_of_float64_leaves_the_running_moments_in_their_type():
    layer = md.nn.BatchNorm2d(3)
    layer(np.random.default_rng(0).normal(size=(4, 3, 2, 2)))
    assert layer.running_mean.dtype == layer.running_var.dtype == np.float32
