"""Dense: y = x·Wᵀ + b."""

import numpy as np
import pytest

from minidl import nn
from minidl.errors import ConfigError, ShapeError
from minidl.testing import gradcheck
from tests.nn.drawn import normal


def test_dense_is_x_times_w_transposed_plus_b():
    layer = nn.Dense(4, 3)
    layer.bias = nn.Parameter([1, 2, 3])
    x = normal(5, 4).astype(np.float32)
    w, b = layer.weight.numpy(), layer.bias.numpy()
    assert w.shape == (3, 4)
    assert np.allclose(layer(x).numpy(), x @ w.T + b, rtol=1e-5)
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
