"""Batch normalisation's CUDA kernels, run on the CPU, against their formulas in float64."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import minidl as md
from minidl import kernels
from minidl.kernels import portable
from minidl.kernels.gpu import batch_norm, launch
from minidl.modes import switched
from tests import standin
from tests.standin.kernels import COMPILER

from ..cases import rearranged
from .orders import same_bytes_in_every_order

pytestmark = [
    pytest.mark.host,
    pytest.mark.skipif(COMPILER is None, reason="no g++ to compile the kernels with"),
]
examples = settings(max_examples=20)
AXES = (0, 2, 3)
EPS = 1e-3
NAMES = ("mean", "variance", "y", "dx", "dweight", "dbias")


@pytest.fixture(params=[(1, launch.LARGE), (16, launch.LARGE), (1, 0)], ids=["1", "16", "64 bits"])
def own(request, monkeypatch):
    """How many values a thread holds; the last with 64-bit indices."""
    monkeypatch.setattr(batch_norm, "OWN", request.param[0])
    monkeypatch.setattr(launch, "LARGE", request.param[1])


@st.composite
def batches(draw):
    """x, g (N, C, H, W), weight and bias, in every memory order; one chunk or many."""
    n, c = draw(st.integers(1, 3)), draw(st.sampled_from([1, 2, 3, 9]))
    h, w = draw(st.sampled_from([(1, 1), (1, 2), (3, 5), (1, 256), (15, 17), (16, 16), (40, 31)]))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    x, g = (rearranged(random, random.normal(3, 2, (n, c, h, w)).astype(dtype)) for _ in range(2))
    return x, g, *(rearranged(random, random.normal(size=c).astype(dtype)) for _ in range(2))


def computed(gpu, x, g, weight, bias, rectify=False):
    """All that the kernels give, from arrays of the host."""
    x, g, weight, bias = map(gpu, (x, g, weight, bias))
    mean, variance = kernels.batch_norm_moments(x)
    inverse = 1 / standin.module.sqrt(variance + EPS)
    y = kernels.batch_norm_affine(x, mean, weight * inverse, bias, rectify)
    layer = weight, mean, inverse, bias if rectify else None
    return mean, variance, y, *kernels.batch_norm_grads(g, x, *layer)


def expected(x, g, weight, bias):
    """The same from the array code in float64."""
    x, g, weight, bias = (a.astype(np.float64) for a in (x, g, weight, bias))
    mean, variance = portable.batch_norm_moments(x)
    inverse = 1 / np.sqrt(variance + EPS)
    y = portable.batch_norm_affine(x, mean, weight * inverse, bias)
    return mean, variance, y, *portable.batch_norm_grads(g, x, weight, mean, inverse)


@examples
@given(case=batches())
def test_moments_value_and_gradients(gpu, own, case):
    standin.counter.clear()
    found = computed(gpu, *case)
    tolerance = 1e-12 if case[0].dtype == np.float64 else 2e-5
    for name, ours, right in zip(NAMES, found, expected(*case), strict=True):
        assert ours.dtype == case[0].dtype, name
        assert ours.shape == right.shape, name
        limit = tolerance * (1 + np.abs(right).max())
        np.testing.assert_allclose(ours.get(), right, rtol=0, atol=limit, err_msg=name)
    launched = [name for name in standin.counter.launched if name.startswith("batch_norm")]
    assert launched == [f"batch_norm_{call}" for call in ("moments", "affine", "sums", "grads")]


@examples
@given(case=batches())
def test_with_relu(gpu, own, case):
    """The values and gradients of the two in turn; where relu gave 0, whatever g is there."""
    x, g, weight, bias = case
    plain = computed(gpu, *case)
    right = np.maximum(plain[2].get(), 0)
    masked = np.where(right > 0, g, g.dtype.type(0))
    g = np.where(right > 0, g, g.dtype.type(np.inf))
    standin.counter.clear()
    found = computed(gpu, x, g, weight, bias, rectify=True)
    launched = [name for name in standin.counter.launched if name.startswith("batch_norm")]
    assert launched == [f"batch_norm_{call}" for call in ("moments", "affine", "sums", "grads")]
    np.testing.assert_array_equal(found[2].get(), right)
    for ours, theirs in zip(found[3:], computed(gpu, x, masked, weight, bias)[3:], strict=True):
        np.testing.assert_array_equal(ours.get(), theirs.get())


def test_relu_of_nan_is_nan_and_its_gradient_0(gpu):
    x = np.array([-1.0, np.nan, 2.0]).reshape(1, 1, 1, 3)
    one, zero, mean = (gpu(np.array([v])) for v in (1.0, 0.0, 0.5))
    y = kernels.batch_norm_affine(gpu(x), mean, one, zero, rectify=True)
    np.testing.assert_array_equal(y.get().ravel(), [0, np.nan, 1.5])
    g = gpu(np.array([np.inf, np.nan, 3.0]).reshape(x.shape))
    assert kernels.batch_norm_grads(g, gpu(x), one, mean, one, zero)[2].get().tolist() == [3]


def statistics(x, weight, running, momentum=0.3):
    """All that comes of a batch, as one tuple."""
    *found, moved = kernels.batch_norm_statistics(x, weight, EPS, running, momentum)
    return *found, *moved, running[2]


@examples
@given(case=batches())
def test_statistics_in_one_launch(gpu, own, case):
    x, _, weight, old = case
    assume(x.size > x.shape[1])
    running = old, np.abs(old) + 1, np.array(41)
    standin.counter.clear()
    found = statistics(*map(gpu, (x, weight)), tuple(map(gpu, running)))
    assert [n for n in standin.counter.launched if n != "ascontiguousarray"] == [
        "batch_norm_statistics"
    ]
    wide = [a.astype(np.float64) for a in (x, weight, *running[:2])]
    right = statistics(wide[0], wide[1], (*wide[2:], np.array(41)))
    assert found[-1].get() == right[-1] == 42
    tolerance = 1e-12 if x.dtype == np.float64 else 2e-5
    for ours, theirs in zip(found[:-1], right[:-1], strict=True):
        assert ours.dtype == x.dtype
        limit = tolerance * (1 + np.abs(theirs).max()) / EPS**0.5
        np.testing.assert_allclose(ours.get(), theirs, rtol=10 * tolerance, atol=limit)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_whichever_block_is_the_last_the_bytes_are_the_same(gpu, monkeypatch, dtype):
    monkeypatch.setattr(batch_norm, "OWN", 1)
    random = np.random.default_rng(5)
    x, weight = (gpu(random.normal(size=s).astype(dtype)) for s in ((7, 3, 16, 50), 3))

    def compute():
        running = gpu(np.zeros(3, dtype)), gpu(np.ones(3, dtype)), gpu(np.array(0))
        return *kernels.batch_norm_moments(x), *statistics(x, weight, running)

    same_bytes_in_every_order(compute, 3 * 22)


def test_of_a_part_of_a_batch_the_statistics_are_those_of_all_parts(gpu):
    random = np.random.default_rng(6)
    x, weight = random.normal(size=(3, 4, 5, 6)), random.normal(size=4)
    running = np.zeros(4), np.ones(4), np.array(0)
    with switched("joint", Halves()):
        right = statistics(x, weight, tuple(a.copy() for a in running))
        found = statistics(gpu(x), gpu(weight), tuple(map(gpu, running)))
    for ours, theirs in zip(found, right, strict=True):
        np.testing.assert_allclose(ours.get(), theirs, rtol=1e-12, atol=1e-12)
    assert "batch_norm_settle" in standin.counter.launched


def test_more_channels_than_counters(gpu, monkeypatch):
    monkeypatch.setattr(launch, "COUNTERS", 2)
    monkeypatch.setattr(launch, "_counters", {})
    random = np.random.default_rng(7)
    x = random.normal(size=(2, 5, 3, 3))
    there = gpu(x)
    graph = kernels.Graph(lambda: kernels.batch_norm_moments(there), like=there)
    for found in (graph.launch(), kernels.batch_norm_moments(there), graph.launch()):
        for ours, right in zip(found, portable.batch_norm_moments(x), strict=True):
            np.testing.assert_allclose(ours.get(), right, rtol=1e-12)


def test_the_gradients_of_weight_and_bias_need_no_copy(gpu):
    layer = md.nn.BatchNorm2d(3).to("cuda")
    x = md.Tensor(gpu(np.random.default_rng(0).normal(size=(2, 3, 4, 4)).astype("f")))
    layer(x).sum().backward()
    standin.counter.clear()
    layer.zero_grad()
    layer(x).sum().backward()
    assert "setitem" not in standin.counter.launched


@pytest.mark.parametrize("offset", [0, 30, 1e5])
@pytest.mark.parametrize("scale", [1e-17, 1, 1e17])
def test_moments_keep_their_digits(gpu, monkeypatch, scale, offset):
    monkeypatch.setattr(batch_norm, "OWN", 1)  # so that 50 chunks are joined
    x = np.random.default_rng(3).normal(offset, 1, (50, 2, 16, 16))
    x = (scale * x).astype(np.float32)
    wide = x.astype(np.float64)
    mean, variance = (a.get() for a in kernels.batch_norm_moments(gpu(x)))
    spacing = np.spacing(np.float32(scale * max(offset, 1)))
    np.testing.assert_allclose(mean, wide.mean(AXES), rtol=0, atol=spacing)
    np.testing.assert_allclose(variance, wide.var(AXES), rtol=1e-5 if offset < 100 else 1e-3)
    own = portable.batch_norm_moments(x)  # whose two passes are no better
    assert np.abs(mean - wide.mean(AXES)).max() <= np.abs(own[0] - wide.mean(AXES)).max() + spacing


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_stays_in_its_channel(gpu, monkeypatch, value):
    monkeypatch.setattr(batch_norm, "OWN", 1)
    random = np.random.default_rng(0)
    x, g = random.normal(size=(2, 2, 3, 16, 20)).astype(np.float32)
    x[1, 1, 5, 6] = value
    found = computed(gpu, x, g, np.ones(3, "f"), np.zeros(3, "f"))
    with np.errstate(all="ignore"):
        right = expected(x, g, np.ones(3), np.zeros(3))
    for name, ours, theirs in zip(NAMES, found, right, strict=True):
        finite = np.isfinite(ours.get())
        np.testing.assert_array_equal(finite, np.isfinite(theirs), err_msg=name)
        close = {"rtol": 1e-4, "atol": 1e-4}
        np.testing.assert_allclose(ours.get()[finite], theirs[finite], err_msg=name, **close)


class Halves:
    """The batch seen from its first half; the second has the same sums, and three times as much."""

    def count(self, own):
        return 2 * own

    def sums(self, first, second):
        return 4 * first, 4 * second

    def moments(self, mean, variance, own):
        return 2 * mean, 3 * variance


@pytest.mark.parametrize("rectify", [False, True])
def test_of_a_part_of_the_batch_dx_takes_the_sums_of_all_parts(gpu, rectify):
    random = np.random.default_rng(1)
    x, g = random.normal(size=(2, 3, 4, 5, 6))
    weight, mean, inverse = random.normal(size=(3, 4))
    args = g, x, weight, mean, inverse, *[random.normal(size=4)] * rectify
    right = portable.batch_norm_grads(*args, joint=Halves())
    with switched("joint", Halves()):
        found = kernels.batch_norm_grads(*map(gpu, args))
    for ours, theirs in zip(found, right, strict=True):
        np.testing.assert_allclose(ours.get(), theirs, rtol=1e-12, atol=1e-12)


def test_every_run_gives_the_same_bytes(gpu):
    random = np.random.default_rng(2)
    case = *random.normal(size=(2, 3, 2, 50, 50)).astype("f"), np.ones(2, "f"), np.ones(2, "f")
    first, second = computed(gpu, *case), computed(gpu, *case)
    for ours, again in zip(first, second, strict=True):
        assert ours.get().tobytes() == again.get().tobytes()


def test_a_graph_repeats_all_of_it(gpu):
    random = np.random.default_rng(4)
    first, second = (random.normal(size=(2, 2, 3, 7, 9)) for _ in range(2))
    x, g = map(gpu, first)
    one = gpu(np.ones(3))

    def work():
        mean, variance = kernels.batch_norm_moments(x)
        y = kernels.batch_norm_affine(x, mean, variance, one)
        return y, *kernels.batch_norm_grads(g, x, one, mean, variance)

    graph = kernels.Graph(work, like=x)
    for array, values in ((x, second[0]), (g, second[1])):
        array[...] = gpu(values)
    found = [a.get() for a in graph.launch()]
    for again, direct in zip(found, work(), strict=True):
        np.testing.assert_array_equal(again, direct.get())


def test_a_layer_trains_on_the_gpu_as_on_the_cpu(gpu):
    random, found = np.random.default_rng(3), []
    x, g = random.normal(size=(2, 4, 3, 5, 5)).astype(md.tensor(1.0).dtype)
    for place in ("cpu", "cuda"):
        layer = md.nn.BatchNorm2d(3).to(place)
        there, back = (md.Tensor(md.device.to_device(a, place)) for a in (x, g))
        there.requires_grad = True
        y = layer(there)
        y.backward(back)
        grads = (p.grad for p in layer.parameters())
        found.append([t.numpy() for t in (y, there.grad, *grads, layer.running_var)])
    for ours, right in zip(*reversed(found), strict=True):
        np.testing.assert_allclose(ours, right, rtol=1e-5, atol=1e-6)
