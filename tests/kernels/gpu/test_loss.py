"""The cross-entropy's CUDA kernels, run on the CPU, against the formula in float64."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minidl as md
from minidl import kernels
from minidl.kernels import portable
from minidl.kernels.gpu import launch, loss
from tests import standin
from tests.standin.kernels import COMPILER

from ..cases import close, rearranged
from .orders import same_bytes_in_every_order

pytestmark = [
    pytest.mark.host,
    pytest.mark.skipif(COMPILER is None, reason="no g++ to compile the kernels with"),
]
examples = settings(max_examples=20)


def expected(logits, labels):
    """Loss and gradient by the array code, in float64."""
    value, gradient = portable.cross_entropy(logits.astype(np.float64), labels)
    return np.asarray(value, logits.dtype), gradient.astype(logits.dtype)


@examples
@given(st.data())
@pytest.mark.parametrize("turns", [0, 4])
def test_loss_and_gradient(gpu, monkeypatch, turns, data):
    monkeypatch.setattr(loss, "TURNS", turns)  # with 0, many blocks share the rows
    monkeypatch.setattr(loss, "BLOCKS", data.draw(st.sampled_from([1, 2, 1024])))
    rows = data.draw(st.integers(1, 70))
    classes = data.draw(st.sampled_from([1, 9, 10, 33, 100]))
    dtype, large = data.draw(st.sampled_from([("f", 1 << 30), ("f", 0), ("d", 1 << 30)]))
    monkeypatch.setattr(launch, "LARGE", large)  # with 0, indices have 64 bits
    random = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    logits = rearranged(random, (10 * random.normal(size=(rows, classes))).astype(dtype))
    labels = random.integers(0, classes, rows)
    found = kernels.cross_entropy(gpu(logits), gpu(labels))
    for ours, right in zip(found, expected(logits, labels), strict=True):
        close(ours.get(), right)


@pytest.mark.parametrize(
    ("rows", "classes", "blocks"),
    [
        (64, 10, 1),
        (256, 10, 1),
        (257, 10, 17),
        (128, 1000, 1),
        (200, 1000, 25),
    ],
)
def test_every_batch_takes_one_launch(gpu, rows, classes, blocks):
    random = np.random.default_rng(rows)
    logits, labels = random.normal(size=(rows, classes)), random.integers(0, classes, rows)
    standin.counter.clear()
    found = kernels.cross_entropy(gpu(logits), gpu(labels))
    assert standin.counter.launched == ["cross_entropy"]
    for ours, right in zip(found, expected(logits, labels), strict=True):
        close(ours.get(), right)
    same_bytes_in_every_order(lambda: kernels.cross_entropy(gpu(logits), gpu(labels)), blocks)


@pytest.mark.parametrize("rows", [3, 300])
def test_a_graph_repeats_it(gpu, rows):
    random = np.random.default_rng(rows)
    logits, labels = gpu(random.normal(size=(rows, 10))), gpu(random.integers(0, 10, rows))
    graph = kernels.Graph(lambda: kernels.cross_entropy(logits, labels), like=logits)
    logits[...] = gpu(random.normal(size=(rows, 10)))
    found = [a.get() for a in graph.launch()]
    for again, right in zip(found, expected(logits.get(), labels.get()), strict=True):
        close(again, right)


@pytest.mark.parametrize("rows", [3, 300])
@pytest.mark.parametrize("label", [-1, 5])
def test_a_label_outside_the_classes_makes_the_loss_nan(gpu, rows, label):
    logits, labels = np.zeros((rows, 5)), np.zeros(rows, np.int64)
    assert np.isfinite(kernels.cross_entropy(gpu(logits), gpu(labels))[0].get())
    labels[-1] = label
    assert np.isnan(kernels.cross_entropy(gpu(logits), gpu(labels))[0].get())


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("row", "place"), [(0, 0), (1, 7), (2, 39)])
def test_nan_and_infinity(gpu, value, row, place):
    random = np.random.default_rng(0)
    logits, labels = random.normal(size=(3, 40)), np.array([0, 8, 39])
    logits[row, place] = value
    found = kernels.cross_entropy(gpu(logits), gpu(labels))
    with np.errstate(all="ignore"):
        right = expected(logits, labels)
    np.testing.assert_allclose(found[0].get(), right[0], rtol=1e-12)
    np.testing.assert_allclose(found[1].get(), right[1], rtol=1e-12, atol=1e-16)


def test_large_logits_do_not_overflow_and_small_gradients_keep_their_digits(gpu):
    logits = np.array([[1e30, 0, -1e30], [40, 0, 0], [0, 50, 0]], np.float32)
    value, gradient = kernels.cross_entropy(gpu(logits), gpu(np.array([0, 0, 1])))
    assert value.get() == 0
    tiny = np.exp(np.array([-40, -50])) / 3
    grads = gradient.get()
    np.testing.assert_allclose(grads[1], tiny[0] * np.array([-2, 1, 1]), rtol=1e-5)
    np.testing.assert_allclose(grads[2], tiny[1] * np.array([1, -2, 1]), rtol=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [1, 8, 21])
def test_through_the_tensors(gpu, dtype, n):
    random = np.random.default_rng(n)
    x, labels = (30 * random.normal(size=(n, 5))).astype(dtype), random.integers(0, 5, n)
    leaf = md.tensor(x, dtype=dtype, device="cpu", requires_grad=True)
    value = md.ops.cross_entropy(leaf, md.Tensor(labels))
    value.backward()
    there = md.Tensor(gpu(x))
    there.requires_grad = True
    ours = md.ops.cross_entropy(there, md.Tensor(gpu(labels.astype(np.uint8))))
    (ours * 3.0).backward()
    close(ours.numpy(), value.numpy())
    close(there.grad.numpy(), 3 * leaf.grad.numpy())
