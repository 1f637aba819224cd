"""Layers of one operation: activations, pooling, Flatten."""

import inspect

import numpy as np
import pytest

from minidl import nn, ops
from tests.nn.drawn import IMAGES, normal

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
