"""Schedules: the formulas, their ends, and what they refuse."""

import math

import numpy as np
import pytest

from minidl import optim
from minidl.errors import ConfigError


def test_constant():
    rate = optim.constant(0.3)
    assert [rate(t) for t in (0, 1, 1000)] == [0.3] * 3


def test_step_decay():
    rate = optim.step_decay(0.8, 3, factor=0.5)
    assert [rate(t) for t in range(8)] == [0.8, 0.8, 0.8, 0.4, 0.4, 0.4, 0.2, 0.2]
    assert optim.step_decay(1.0, 10)(20) == pytest.approx(0.01)


def test_exponential_decay():
    rate = optim.exponential_decay(0.5, 0.9)
    assert [rate(t) for t in (0, 1, 7)] == pytest.approx([0.5, 0.45, 0.5 * 0.9**7])
    slow = optim.exponential_decay(0.5, 0.25, steps=10)
    assert [slow(t) for t in (0, 5, 10)] == pytest.approx([0.5, 0.25, 0.125])


def test_inverse_time_decay():
    rate = optim.inverse_time_decay(0.6, 0.5)
    assert [rate(t) for t in (0, 2, 10)] == pytest.approx([0.6, 0.3, 0.1])


def test_cosine():
    rate = optim.cosine(1.0, 8, final=0.2)
    assert [rate(t) for t in (0, 4, 8, 9, 100)] == pytest.approx([1.0, 0.6, 0.2, 0.2, 0.2])
    assert rate(2) == pytest.approx(0.2 + 0.4 * (1 + math.cos(math.pi / 4)))
    assert optim.cosine(0.4, 10)(10) == pytest.approx(0)


def test_warmup():
    rate = optim.warmup(optim.constant(0.8), 4)
    assert [rate(t) for t in range(6)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 0.8, 0.8])
    falling = optim.warmup(optim.inverse_time_decay(1.0, 1.0), 2)
    assert [falling(t) for t in range(4)] == pytest.approx([0.5, 0.5, 1 / 3, 1 / 4])


@pytest.mark.parametrize(("steps", "up", "low"), [(20, 0.3, 0.04), (50, 0.5, 0.1), (7, 0.0, 0.5)])
def test_one_cycle_is_pytorchs(steps, up, low):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: nothing to compare with")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.1)
    peer = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 0.6, steps, pct_start=up, div_factor=1 / low, cycle_momentum=False
    )
    rate, expected = optim.one_cycle(0.6, steps, up, low), []
    if (up, low) == (0.3, 0.04):  # PyTorch's defaults, and ours
        rate = optim.one_cycle(0.6, steps)
    for _ in range(steps):
        expected.append(peer.get_last_lr()[0])
        optimizer.step()
        if len(expected) < steps:
            peer.step()
    assert [rate(t) for t in range(steps)] == pytest.approx(expected, rel=1e-9)


def test_one_cycle():
    rate = optim.one_cycle(1.0, 101, up=0.5, low=0.1)
    rates = [rate(t) for t in range(101)]
    assert rates[0] == pytest.approx(0.1) and rates[100] == pytest.approx(1e-5)
    top = int(np.argmax(rates))
    assert top in (49, 50) and rates[top] == pytest.approx(1, abs=1e-3)
    assert (np.diff(rates[: top + 1]) > 0).all() and (np.diff(rates[top:]) < 0).all()
    assert rate(1000) == pytest.approx(1e-5)
    assert optim.one_cycle(1.0, 1)(0) == pytest.approx(0.04 / 1e4)
    assert optim.one_cycle(1.0, 10, up=0.1)(0) == pytest.approx(1)  # at the peak from the start


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("constant", (-1,)),
        ("constant", ("0.1",)),
        ("step_decay", (0.1, 0)),
        ("step_decay", (0.1, 2.5)),
        ("step_decay", (-0.1, 2)),
        ("step_decay", (0.1, 2, -1)),
        ("exponential_decay", (0.1, float("nan"))),
        ("exponential_decay", (0.1, 0.5, 0)),
        ("inverse_time_decay", (0.1, -1)),
        ("cosine", (float("inf"), 10)),
        ("cosine", (0.1, 0)),
        ("cosine", (0.1, 10, -1)),
        ("warmup", (optim.constant(1), 0)),
        ("one_cycle", (0.1, 0)),
        ("one_cycle", (-0.1, 10)),
        ("one_cycle", (0.1, 10, 1.0)),
        ("one_cycle", (0.1, 10, 0.3, -1)),
    ],
)
def test_impossible_options(name, args):
    expected = rf"^{name}: expected \w+ (>= 0|an int >= 1|in \[0, 1\)), got"
    with pytest.raises(ConfigError, match=expected):
        getattr(optim, name)(*args)


def test_rates_are_python_numbers():
    for made in (optim.constant(0.1), optim.cosine(0.1, 10), optim.one_cycle(0.1, 10)):
        assert type(made(3)) is float


def test_warmup_needs_a_schedule():
    with pytest.raises(ConfigError, match="warmup: expected schedule as a function, got 5"):
        optim.warmup(5, 3)
