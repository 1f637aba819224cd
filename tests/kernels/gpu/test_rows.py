"""Softmax and standardisation by CUDA kernels, run on the CPU, against float64."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minidl as md
from minidl import kernels
from minidl.kernels import portable
from minidl.kernels.gpu import launch
from tests import standin
from tests.standin.kernels import COMPILER

from ..cases import close, rearranged

pytestmark = [
    pytest.mark.host,
    pytest.mark.skipif(COMPILER is None, reason="no g++ to compile the kernels with"),
]
examples = settings(max_examples=20)

shapes = st.tuples(st.integers(1, 9), st.integers(1, 4), st.sampled_from([1, 2, 7, 10, 33, 100]))


def drawn(data, monkeypatch, count):
    """Arrays of one shape and type, in some memory order; `last`, how many axes make a row."""
    dtype, large = data.draw(st.sampled_from([("f", 1 << 30), ("f", 0), ("d", 1 << 30)]))
    monkeypatch.setattr(launch, "LARGE", large)  # with 0, indices have 64 bits
    random = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    shape = data.draw(shapes)
    size = data.draw(st.sampled_from([1.0, 30.0]))
    arrays = [(size * random.normal(size=shape)).astype(dtype) for _ in range(count)]
    return [rearranged(random, a) for a in arrays], data.draw(st.integers(1, 3))


def launched():
    """The kernels launched, without the copies of arrays in other memory orders."""
    return [name for name in standin.counter.launched if name != "ascontiguousarray"]


def agree(ours, right, dtype):
    for found, expected in zip(ours, right, strict=True):
        assert found.dtype == dtype
        close(found.get(), expected.astype(dtype))


@examples
@given(st.data())
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax(gpu, monkeypatch, name, data):
    (x, g), _ = drawn(data, monkeypatch, 2)
    value, grad = getattr(kernels, name), getattr(kernels, name + "_grad")
    wide = x.astype(float)
    y = getattr(portable, name)(wide, 2)
    right = y, getattr(portable, name + "_grad")(g.astype(float), y, 2)
    standin.counter.clear()
    found = value(gpu(x), 2)
    assert launched() == [name]
    agree([found, grad(gpu(g), found, 2)], right, x.dtype)
    assert launched() == [name, name + "_grad"]


@examples
@given(st.data())
def test_standardize(gpu, monkeypatch, data):
    (x, g), last = drawn(data, monkeypatch, 2)
    axes = tuple(range(3 - last, 3))
    y, deviation = portable.standardize(x.astype(float), axes, 0.1)
    right = y, deviation, portable.standardize_grad(g.astype(float), y, deviation, axes)
    standin.counter.clear()
    found = kernels.standardize(gpu(x), axes, 0.1)
    grad = kernels.standardize_grad(gpu(g), *found, axes)
    assert launched() == ["standardize", "standardize_grad"]
    agree([*found, grad], right, x.dtype)


def test_a_large_mean_does_not_hide_the_differences(gpu):
    x = (1e4 + np.arange(64).reshape(2, 32) / 16).astype("f")
    found, _ = kernels.standardize(gpu(x), (1,), 1e-5)
    right, _ = portable.standardize(x.astype(float), (1,), 1e-5)
    close(found.get(), right.astype("f"))


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_a_row_with_an_infinity_or_nan_spoils_no_other(gpu, value):
    x = np.random.default_rng(0).normal(size=(3, 10)).astype("f")
    x[1, 4] = value
    for name in ("softmax", "log_softmax"):
        with np.errstate(all="ignore"):
            right = getattr(portable, name)(x.astype(float), 1)
            found = getattr(kernels, name)(gpu(x), 1).get()
        close(found, right.astype("f"))
        assert np.isfinite(found[[0, 2]]).all()


def test_many_numbers_in_a_row_are_added_up_without_loss(gpu):
    x = np.zeros((1, 70_001), "f")
    assert kernels.softmax(gpu(x), 1).get().sum(dtype=float) == pytest.approx(1, abs=1e-6)
    x[:] = 0.1
    y, _ = kernels.standardize(gpu(x), (1,), 1e-5)
    assert np.abs(y.get()).max() < 1e-5


@pytest.mark.parametrize("axis", [0, 1])
def test_other_axes_are_left_to_the_array_code(gpu, axis):
    x = np.random.default_rng(1).normal(size=(3, 4, 5)).astype("f")
    standin.counter.clear()
    found = kernels.softmax(gpu(x), axis).get()
    assert "softmax" not in launched()
    close(found, portable.softmax(x.astype(float), axis).astype("f"))


def test_layer_normalisation_takes_few_launches(gpu):
    layer = md.nn.LayerNorm((4, 5)).to("cuda")
    x = md.tensor(np.random.default_rng(2).normal(size=(3, 4, 5)), device="cuda")
    x.requires_grad = True
    standin.counter.clear()
    layer(x).sum().backward()
    assert launched().count("standardize") == 1
    assert launched().count("standardize_grad") == 1
