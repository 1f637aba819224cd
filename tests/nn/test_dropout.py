"""Dropout: what it drops, and when."""

import numpy as np
import pytest

import minidl as md
from minidl import nn
from minidl.errors import ConfigError
from tests.nn.drawn import normal


def test_dropout_in_training():
    md.manual_seed(0)
    x = np.full((200, 500), 3.0, np.float32)
    y = nn.Dropout(0.3)(x).numpy()
    assert y.dtype == np.float32
    assert np.unique(y).tolist() == [0, np.float32(3.0) * np.float32(1 / 0.7)]
    assert (y == 0).mean() == pytest.approx(0.3, abs=5 * np.sqrt(0.21 / y.size))
    assert y.mean() == pytest.approx(3, rel=0.01)


def test_whole_numbers_become_float32():
    x, layer = np.arange(4), nn.Dropout(0.5)
    assert layer(x).dtype == layer.eval()(x).dtype == np.float32


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
