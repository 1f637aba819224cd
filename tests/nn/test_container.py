"""Sequential is a list of layers; Residual adds a branch."""

import numpy as np
import pytest

import minidl as md
from minidl import nn
from minidl.errors import ConfigError, ShapeError
from minidl.testing import gradcheck
from tests.nn.drawn import normal


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
        vars(block.branch[1]).update(weight=w)
        return block(x)

    gradcheck(f, normal(2, 3), normal(3, 3, seed=1), order=2)


def test_residual_refuses_to_broadcast():
    for branch in (nn.Dense(3, 1), nn.Dense(3, 4)):
        with pytest.raises(ShapeError, match=r"Residual: expected .* \(2, 3\), got \(2,"):
            nn.Residual(branch)(normal(2, 3))
