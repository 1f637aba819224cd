"""Weight normalisation: a length and a direction, each trained."""

import copy

import numpy as np
import pytest

import minidl as md
from minidl import nn, ops
from minidl.errors import ConfigError, ShapeError
from minidl.nn import weight_norm
from minidl.testing import gradcheck
from tests.nn.drawn import normal

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


def test_a_frozen_layer_stays_frozen():
    layer = nn.Dense(2, 3)
    layer.weight.requires_grad = False
    nn.weight_norm(layer)
    assert [n for n, p in layer.named_parameters() if p.requires_grad] == ["bias"]
