import numpy as np
import pytest

import minidl as md
from minidl import nn
from minidl.train import accuracy, gradient_norms
from minidl.train.metrics import layer_name, squared_norm


@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e-20, 1e15, 1e19, 1e30])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.filterwarnings("ignore:overflow")
def test_squared_norm_of_float32_neither_overflows_nor_vanishes(scale, order):
    x = np.random.default_rng(0).normal(size=(30, 40)).astype(np.float32, order=order)
    x *= np.float32(scale)
    exact = (x.astype(np.float64) ** 2).sum()
    assert squared_norm(x) == pytest.approx(exact, rel=1e-6)


def test_squared_norm_of_float64_and_of_views():
    x = np.random.default_rng(0).normal(size=(6, 8))
    assert squared_norm(x[::2, ::-3]) == pytest.approx((x[::2, ::-3] ** 2).sum(), rel=1e-14)
    assert squared_norm(np.zeros((2, 2), np.float32)) == 0
    assert squared_norm(np.array([1, np.inf], np.float32)) == np.inf
    assert np.isnan(squared_norm(np.array([1, np.nan], np.float32)))


def test_gradient_norms_by_layer():
    model = nn.Sequential(nn.Dense(2, 2), nn.ReLU(), nn.Dense(2, 1))
    for parameter, gradient in zip(
        model.parameters(), ([[1, 2], [2, 0]], [0, 4], [[5, 12]]), strict=False
    ):
        parameter.grad = md.tensor(gradient, dtype="float32")
    total, layers = gradient_norms(model.named_parameters())
    keys = list(layers)
    assert [layers[key] for key in keys] == pytest.approx([5, 13])
    assert total == pytest.approx(np.hypot(5, 13))
    assert [layer_name(name) for name, _ in model.named_parameters()][::2] == keys


def test_layer_name():
    assert layer_name("3.body.0.weight") == "3.body.0"
    assert layer_name("weight") == "weight"


def test_accuracy():
    logits = np.array([[1.0, 2], [3, 0], [0, 1]])
    assert accuracy(logits, np.array([1, 1, 1])) == pytest.approx(2 / 3)
