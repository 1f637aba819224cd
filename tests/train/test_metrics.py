import numpy as np
import pytest

import minidl as md
from minidl import nn
from minidl.train import accuracy, gradient_norms
from minidl.train.metrics import layer_name


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
