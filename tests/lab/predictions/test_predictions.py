"""Every prediction holds, the theory behind them is right, and a wrong gain is found out."""

import math

import numpy as np
import pytest

import minidl as md
from minidl.lab import find, sampling
from minidl.lab.predictions.batchnorm_explosion import batch_norm_growth

PREDICTIONS = [e for e in find() if e.number.startswith("P")]


@pytest.mark.parametrize("prediction", PREDICTIONS, ids=lambda e: e.name)
def test_it_holds(prediction):
    result = prediction(7, quick=True)
    off = [check for check in result.checks if not check.ok]
    assert result.verdict == "holds", off
    assert result.rows
    assert {"x", "y"} <= set(result.series)
    assert ("lines" in result.series) != ("bars" in result.series)
    if result.counts:
        assert result.counts["of"] == 3


@pytest.mark.parametrize("name", ["linear-rnn", "orthogonal-products"])
def test_a_seed_decides_everything(name):
    (e,) = find([name])
    measured = [[c.measured for c in e(seed, True).checks] for seed in (1, 1, 2)]
    assert measured[0] == measured[1]
    assert measured[0] != measured[2]


# he_gain's tolerance at n = 256 is 2.3 % in the quick form, so 6 % too much must show.
@pytest.mark.parametrize(
    "name",
    ["he-gain", "depth-width", "tanh-chaos", "residual-scale", "orthogonal-products", "selu"],
)
def test_a_wrong_gain_of_the_weights_is_found_out(name, monkeypatch):
    right = sampling.gaussian

    def wrong(rng, *shape, variance=1.0):
        return (1.06 if len(shape) == 3 and shape[-1] > 1 else 1.0) * right(
            rng, *shape, variance=variance
        )

    monkeypatch.setattr(sampling, "gaussian", wrong)
    (e,) = find([name])
    assert e(3, True).verdict == "fails"


def test_a_wrong_initializer_is_found_out(monkeypatch):
    monkeypatch.setitem(
        md.nn.init._named, "he_normal", lambda shape: md.nn.init.xavier_normal(shape)
    )
    result = find(["he-gain"])[0](3, True)
    assert [c.what for c in result.checks if not c.ok] == [
        "signal, Dense(256, 256, init='he_normal')"
    ]


@pytest.mark.parametrize("name", ["he-gain", "batchnorm-explosion", "euler-invariant"])
def test_a_wrong_derivative_is_found_out(name, monkeypatch):
    right = md.ops.relu

    def leaky(x):  # the gradient of another function: 5 % leaks through where the unit is off
        y = right(x)
        return y + 0.05 * (md.as_tensor(x) - md.as_tensor(x).detach())

    monkeypatch.setattr(md.ops, "relu", leaky)
    assert find([name])[0](3, True).verdict == "fails"


def test_batch_norm_growth_is_that_of_an_infinite_layer():
    """E ‖J D g‖² of one neuron, sampled: y uniform on the sphere, ‖Gh‖² a χ² with B - 1 terms."""
    batch, samples = 6, 400_000
    rng = np.random.default_rng(0)
    h = rng.standard_normal((samples, batch))
    h -= h.mean(1, keepdims=True)
    y = h / np.sqrt((h * h).mean(1, keepdims=True))
    active = np.maximum(y, 0)
    next_variance = (active - active.mean(1, keepdims=True)).var(1).mean() * batch / (batch - 1)
    g = rng.standard_normal((samples, batch))
    g -= g.mean(1, keepdims=True)
    g_out = g * (y > 0)
    g_out -= g_out.mean(1, keepdims=True)
    g_out -= y * (g_out * y).mean(1, keepdims=True)
    ratio = (g_out**2).sum(1).mean() / (g**2).sum(1).mean()
    inverse = batch / (batch - 3) / next_variance  # E B/‖Gh‖², ‖Gh‖² = variance·χ²_{B-1}
    assert ratio * inverse == pytest.approx(batch_norm_growth(batch), rel=0.02)
    assert batch_norm_growth(10**7) == pytest.approx(math.pi / (math.pi - 1), rel=1e-6)
