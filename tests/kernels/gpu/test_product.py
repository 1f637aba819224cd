"""The dense layer's CUDA kernel, run on the CPU, against the formula in float64."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minidl as md
from minidl import kernels
from minidl.kernels.gpu import launch, product
from minidl.kernels.linear import linear
from tests import standin
from tests.standin.kernels import COMPILER

from ..cases import close, rearranged
from .orders import same_bytes_in_every_order

pytestmark = [
    pytest.mark.host,
    pytest.mark.skipif(COMPILER is None, reason="no g++ to compile the kernels with"),
]


def expected(x, w, b, rectify):
    x, w, b = (0.0 if a is None else a.astype(np.float64) for a in (x, w, b))
    y = x @ w.T + b
    return np.clip(y, 0, np.inf) if rectify else y


@settings(max_examples=40)
@given(st.data())
def test_value(gpu, monkeypatch, data):
    """One tile or some, one piece or many in groups of 16, in every memory order."""
    monkeypatch.setattr(product, "BLOCKS", data.draw(st.sampled_from([1, 8, 128])))
    dtype, large = data.draw(st.sampled_from([("f", 1 << 30), ("f", 0), ("d", 1 << 30)]))
    monkeypatch.setattr(launch, "LARGE", large)  # with 0, indices have 64 bits
    random = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    monkeypatch.setattr(product, "OUTPUTS", 70)  # so that tiles lie side by side too
    m, n = (
        data.draw(st.sampled_from([1, 10, 64, 65, 128])),
        data.draw(st.sampled_from([1, 3, 10, 70])),
    )
    k = data.draw(st.sampled_from([1, 16, 17, 300, 700]))
    x, w, b = (rearranged(random, random.normal(size=s).astype(dtype)) for s in ((m, k), (n, k), n))
    b, rectify = data.draw(st.sampled_from([None, b])), data.draw(st.booleans())
    standin.counter.clear()
    y = linear(gpu(x), gpu(w), None if b is None else gpu(b), rectify)
    assert [name for name in standin.counter.launched if name != "ascontiguousarray"] == ["linear"]
    right = expected(x, w, b, rectify)
    assert y.dtype == x.dtype
    limit = {"f": 1e-6, "d": 1e-14}[dtype] * (1 + np.sqrt(k)) * 5
    np.testing.assert_allclose(y.get(), right, rtol=0, atol=limit)


@pytest.mark.parametrize("dtype", ["f", "d"])
def test_whichever_block_is_the_last_the_bytes_are_the_same(gpu, dtype):
    random = np.random.default_rng(0)
    x, w, b = (gpu(random.normal(size=s).astype(dtype)) for s in ((70, 900), (10, 900), 10))
    assert x.shape[1] / product.SLICE > 2 * launch.GROUP  # so there are groups of pieces
    same_bytes_in_every_order(lambda: [linear(x, w, b, True)], 2 * 57)


def test_a_graph_repeats_it(gpu):
    random = np.random.default_rng(1)
    x, w, b = (random.normal(size=s) for s in ((5, 600), (7, 600), 7))
    there = [gpu(a) for a in (x, w, b)]
    graph = kernels.Graph(lambda: linear(*there, False), like=there[0])
    for _ in range(3):
        there[0][...] = gpu(x)
        close(graph.launch().get(), expected(x, w, b, False))
        x = -2 * x


@pytest.mark.parametrize("rectify", [False, True])
def test_nan_and_infinity_pass(gpu, rectify):
    x, w = np.eye(3), np.array([[np.nan, 1, 2], [np.inf, -np.inf, 1], [1.0, -1, 0]])
    with np.errstate(invalid="ignore"):
        right = expected(x, w, None, rectify)
    np.testing.assert_array_equal(linear(gpu(x), gpu(w), None, rectify).get(), right)


def test_many_rows_or_outputs_go_to_cublas(gpu):
    for rows, outputs, launched in ((128, 16, "linear"), (129, 1, "add"), (1, 17, "add")):
        x, w, b = np.ones((rows, 2)), np.ones((outputs, 2)), np.ones(outputs)
        standin.counter.clear()
        assert (linear(gpu(x), gpu(w), gpu(b), False).get() == 3).all()
        assert standin.counter.launched[-1] == launched


@pytest.mark.parametrize("dtype", ["f", "d"])
@pytest.mark.parametrize("shape", [(3, 17, 5), (300, 40, 2), (1, 300, 1)])
def test_bias_and_relu_of_a_larger_layer_are_one_launch(gpu, dtype, shape):
    (m, n, k), random = shape, np.random.default_rng(3)
    x, w, b = (random.normal(size=s).astype(dtype) for s in ((m, k), (n, k), n))
    x[0, 0] = np.nan
    standin.counter.clear()
    y = linear(gpu(x), gpu(w), gpu(b), rectify=True)
    assert standin.counter.launched[-1] == "bias_relu"
    assert "add" not in standin.counter.launched
    close(y.get(), expected(x, w, b, True).astype(dtype))


@pytest.mark.parametrize("rectify", [False, True])
@pytest.mark.parametrize("outputs", [4, 20])
def test_through_the_tensors(gpu, rectify, outputs):
    random, found = np.random.default_rng(2), []
    arrays = [random.normal(size=s) for s in ((6, 5), (outputs, 5), outputs, (6, outputs))]
    for place in ("cpu", "cuda"):
        x, w, b, g = (md.Tensor(md.device.to_device(a, place)) for a in arrays)
        for leaf in (x, w, b):
            leaf.requires_grad = True
        y = md.ops.linear(x, w, b, rectify=rectify)
        y.backward(g)
        found.append([t.numpy() for t in (y, x.grad, w.grad, b.grad)])
    for ours, right in zip(*reversed(found), strict=True):
        np.testing.assert_allclose(ours, right, rtol=1e-12, atol=1e-12)
