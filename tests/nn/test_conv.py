"""Convolutions as layers."""

import numpy as np
import pytest

from minidl import nn, ops
from minidl.errors import ConfigError, ShapeError
from tests.nn.drawn import normal

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
