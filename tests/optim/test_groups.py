"""Groups of parameters with options of their own, as in PyTorch."""

import copy
import pickle

import numpy as np
import pytest

import minidl as md
from minidl import nn, optim
from minidl.errors import CheckpointError, ConfigError
from minidl.nn import Parameter

from .formulas import CASES, draw, put


def pair():
    a, b = Parameter([1.0, 2.0], dtype=np.float64), Parameter([3.0], dtype=np.float64)
    a.grad, b.grad = md.tensor([1.0, -1.0], dtype="float64"), md.tensor([2.0], dtype="float64")
    return a, b


def test_each_group_follows_its_own_options():
    """Two groups of one optimizer are two optimizers."""
    for name, _, options in CASES:
        whole, parts = draw()[0], draw()[0]
        gradients = draw()[2]
        other = {"lr": 0.03, "weight_decay": 0.2}
        kind = getattr(optim, name)
        one = kind([{"params": whole[:2], **other}, {"params": whole[2:]}], **options)
        two = kind(parts[:2], **{**options, **other}), kind(parts[2:], **options)
        for gs in gradients[:5]:
            put(whole, gs)
            put(parts, gs)
            for optimizer in (one, *two):
                optimizer.step()
        for p, q in zip(whole, parts, strict=True):
            assert np.array_equal(p.numpy(), q.numpy())
        assert one.params == whole


def test_groups_can_hold_what_an_optimizer_can():
    net = nn.Sequential(nn.Dense(2, 3), nn.Dense(3, 1))
    groups = [{"params": net.layers[0]}, {"params": net.layers[1].weight}]
    optimizer = optim.SGD([*groups, {"params": [net.layers[1].bias]}], lr=0.1)
    assert optimizer.params == list(net.parameters())


def test_the_rate_is_the_first_groups_and_moves_all_of_them():
    a, b = pair()
    optimizer = optim.SGD([{"params": [a], "lr": 0.1}, {"params": [b]}], lr=0.01)
    rates = lambda: [g["lr"] for g in optimizer.param_groups]  # noqa: E731
    assert optimizer.lr == 0.1 and rates() == [0.1, 0.01]
    for rate in (0.2, 0.0, np.float64(0.05)):
        optimizer.lr = rate
        np.testing.assert_allclose(rates(), [rate, rate / 10])
    optimizer.step()
    np.testing.assert_allclose([*a.numpy(), *b.numpy()], [0.95, 2.05, 3 - 2 * 0.005])
    zero = optim.SGD([{"params": [a], "lr": 0.0}, {"params": [b]}], lr=0.01)
    zero.lr = 0.5
    assert [g["lr"] for g in zero.param_groups] == [0.5, 0.01]


def test_a_group_can_be_changed_as_in_pytorch():
    p = Parameter([1.0])
    optimizer = optim.SGD([p], lr=0.5)
    for group in optimizer.param_groups:
        group["lr"] *= 0.1
        group["name"] = "all"  # other keys are nobody's business
    p.grad = md.tensor([1.0])
    optimizer.step()
    assert optimizer.lr == pytest.approx(0.05) and p.item() == pytest.approx(0.95)


def test_a_copy_of_the_groups_makes_the_same_optimizer():
    a, b = pair()
    one = optim.Adam([{"params": [a], "lr": 0.1}, {"params": [b], "eps": 1e-3}])
    two = optim.Adam(one.param_groups)
    assert repr(one) == repr(two)


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        ([{"lr": 0.1}], "expected each group to have 'params' .* got .'lr'"),
        ([{"params": [Parameter([1.0])], "rate": 1}], r"options out of .*'lr'.* got \['rate'\]"),
        ([{"params": [Parameter([1.0])], "lr": -1}], "expected lr >= 0, got -1"),
        ([{"params": [Parameter([1.0])], "momentum": 1.5}], "expected momentum in .0, 1., got 1.5"),
        ([{"params": []}], "at least one and none twice"),
        ([{"params": [1.0]}], "expected params to be a model"),
    ],
)
def test_a_group_with_a_fault_is_refused(groups, words):
    with pytest.raises(ConfigError, match=f"SGD: .*{words}"):
        optim.SGD(groups, lr=0.1)


def test_a_tensor_in_two_groups_is_refused():
    p = Parameter([1.0])
    with pytest.raises(ConfigError, match="none twice"):
        optim.SGD([{"params": [p]}, {"params": [p]}], lr=0.1)


def test_the_state_of_groups():
    a, b = pair()
    groups = [{"params": [a]}, {"params": [b], "lr": 0.3}]
    optimizer = optim.SGD(groups, lr=0.1, momentum=0.5)
    optimizer.step()
    optimizer.lr = 0.2
    state = optimizer.state_dict()
    assert {n: v for n, v in state.items() if "lr" in n} == {"lr": 0.2, "lr.1": pytest.approx(0.6)}
    other = optim.SGD(groups, lr=0.1, momentum=0.5)
    other.load_state_dict(state)
    assert [g["lr"] for g in other.param_groups] == [0.2, pytest.approx(0.6)]
    assert other.state.keys() == optimizer.state.keys()
    with pytest.raises(CheckpointError, match=r"lr\.1: expected nothing, found \(\)"):
        optim.SGD([a, b], lr=0.1, momentum=0.5).load_state_dict(state)


def test_an_optimizer_can_be_copied_and_pickled():
    a, b = pair()
    optimizer = optim.Adam([{"params": [a]}, {"params": [b], "lr": 0.3}])
    optimizer.step()
    for twin in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
        twin.step()
        assert repr(twin) == repr(optimizer) and twin.params[0] is not a
    assert a.numpy()[0] > twin.params[0].numpy()[0]
