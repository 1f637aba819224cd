"""Every kernel gives the same bytes with 1, 2, 3 and 8 threads; shapes alone cut its work."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import minidl as md
from minidl import kernels
from minidl.kernels.cpu import (
    batch_norm,
    columns,
    conv_pool,
    elementwise,
    pool,
    product,
    rows,
    threads,
    update,
)

from ..cases import cases

pytestmark = pytest.mark.host
COUNTS = (1, 2, 3, 8)


def same_bytes(compute):
    """compute() is the same with each number of threads."""
    md.set_threads(1)
    wanted = [a.tobytes() for a in compute()]
    for count in COUNTS[1:]:
        md.set_threads(count)
        assert [a.tobytes() for a in compute()] == wanted, f"{count} threads"


@pytest.fixture
def small_parts(monkeypatch):
    """So small that a test's arrays have many parts."""
    for module in (columns, pool, batch_norm, conv_pool):
        monkeypatch.setattr(module, "TILE", 256)
    monkeypatch.setattr(elementwise, "CHUNK", 16)
    monkeypatch.setattr(update, "CHUNK", 16)
    monkeypatch.setattr(update, "PART", 40)
    monkeypatch.setattr(product, "SHARED", 500)
    monkeypatch.setattr(product, "PIECE", 500)
    monkeypatch.setattr(product, "ALONE", 100)
    monkeypatch.setattr(product, "SMALL", 20)


FLOATS = pytest.mark.parametrize("dtype", ["f", "d"])


@FLOATS
@given(case=cases(), kind=st.sampled_from([rows, columns]))
@settings(max_examples=25)
def test_convolution(small_parts, dtype, case, kind):
    x, w, g = (a.astype(dtype) for a in (case.x, case.w, case.g))
    b = None if case.b is None else case.b.astype(dtype)
    same_bytes(
        lambda: (
            kind.conv_forward(x, w, b, case.window),
            kind.conv_input_grad(g, w, case.window),
            kind.conv_weight_grad(x, g, case.window),
        )
    )


def images(random, dtype, shape=(5, 6, 12, 8)):
    n, c, h, w = shape
    return random.normal(size=(h, c, w, n)).astype(dtype).transpose(3, 1, 0, 2)


@FLOATS
@pytest.mark.parametrize(("size", "stride"), [(2, 2), (3, 2), (3, 1)])
def test_pooling(small_parts, dtype, size, stride):
    x = images(np.random.default_rng(1), dtype)
    window = kernels.window("max_pool2d", x.shape[2:], size, stride, 0)
    y, index = pool.max_pool(x, window)
    same_bytes(
        lambda: (
            *pool.max_pool(x, window),
            *pool.max_pool(x - 1, window, rectify=True),
            pool.max_unpool(y, index, window),
            pool.avg_pool(x, window),
            pool.avg_unpool(y, window),
        )
    )


@FLOATS
def test_convolution_and_pooling_in_one(small_parts, dtype):
    random = np.random.default_rng(2)
    x, w = images(random, dtype, (5, 2, 12, 8)), random.normal(size=(7, 2, 3, 3)).astype(dtype)
    window = kernels.window("conv2d", (12, 8), 3, 1, "same")
    places = kernels.window("max_pool2d", window.out, 2, 2)
    y, index = conv_pool.conv_pool(x, w, w[:, 0, 0, 0], window, places, True)
    same_bytes(
        lambda: (
            *conv_pool.conv_pool(x, w, w[:, 0, 0, 0], window, places, True),
            *conv_pool.conv_pool_grads(x, y, index, window, places),
        )
    )


@FLOATS
def test_batch_normalisation(small_parts, dtype):
    random = np.random.default_rng(3)
    x, g = images(random, dtype), images(random, dtype)
    values = random.normal(size=(3, 6)).astype(dtype)
    same_bytes(
        lambda: (
            *batch_norm.batch_norm_moments(x),
            batch_norm.batch_norm_affine(x, *values),
            batch_norm.batch_norm_affine(x, *values, rectify=True),
            *batch_norm.batch_norm_grads(g, x, *values),
            *batch_norm.batch_norm_grads(g, x, *values, bias=values[0]),
        )
    )


@FLOATS
@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 70), st.booleans(), st.booleans())
def test_product(small_parts, dtype, m, k, n, a_turned, b_turned):
    random = np.random.default_rng(m * k * n)
    a = random.normal(size=(k, m) if a_turned else (m, k)).astype(dtype)
    b = random.normal(size=(n, k) if b_turned else (k, n)).astype(dtype)
    a, b = a.T if a_turned else a, b.T if b_turned else b
    same_bytes(lambda: [product.product(a, b)])
    exact = a.astype("longdouble") @ b.astype("longdouble")
    bound = k * np.finfo(dtype).eps * (abs(a).astype("d") @ abs(b).astype("d"))
    assert (abs(product.product(a, b) - exact) <= bound + 1e-300).all()


RULES = {
    "sgd": {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
    "rmsprop": {"lr": 0.1, "alpha": 0.9, "eps": 1e-8, "weight_decay": 0.01},
    "adam": {
        **{"lr": 0.1, "betas": (0.9, 0.99), "eps": 1e-8},
        **{"weight_decay": 0.01, "decoupled": True},
    },
}


@FLOATS
@pytest.mark.parametrize("rule", RULES)
def test_optimizer_steps(small_parts, monkeypatch, dtype, rule):
    """Small and large parameters, by rows and by columns, and one whose slots lie otherwise."""

    def compute():
        random = np.random.default_rng(4)
        shapes = (3,), (40, 5), (100,), (30, 9), (12, 6)
        slots = 2 if rule == "adam" else 1
        steps = [
            (*(random.uniform(0.1, 1, s).astype(dtype) for _ in range(2)), 3,
             [random.uniform(0.1, 1, s).astype(dtype) for _ in range(slots)], RULES[rule])
            for s in shapes
        ]  # fmt: skip
        for i in (1, 3):
            theta, g, t, slots, options = steps[i]
            turned = [np.asfortranarray(a) for a in (theta, g, *slots)]
            if i == 3:
                turned[-1] = np.ascontiguousarray(turned[-1])
            steps[i] = (turned[0], turned[1], t, turned[2:], options)
        assert kernels.update(rule, steps) == []
        return [a for theta, _, _, slots, _ in steps for a in (theta, *slots)]

    same_bytes(compute)
    in_chunks = compute()
    monkeypatch.setattr(update, "CHUNK", 10**9)
    for array, whole in zip(in_chunks, compute(), strict=True):
        np.testing.assert_allclose(array, whole, rtol=10 * np.finfo(dtype).eps)


@FLOATS
@pytest.mark.parametrize("shape", [(100,), (7, 31), (3, 4, 5, 6)])
def test_elementwise(small_parts, dtype, shape):
    random = np.random.default_rng(5)
    a, b = (random.normal(size=shape).astype(dtype).T for _ in range(2))
    same_bytes(lambda: [elementwise.in_chunks(np.add, a, b)])
    np.testing.assert_array_equal(elementwise.in_chunks(np.add, a, b), a + b)
    found = elementwise.in_chunks(lambda x, m: np.where(m, x, 0).astype(dtype), a, a > 0)
    np.testing.assert_array_equal(found, np.where(a > 0, a, 0))
    assert found.strides == a.strides
    mixed = elementwise.in_chunks(np.add, a.astype("f"), b.astype("d"))
    assert mixed.dtype == np.float64
    assert elementwise.in_chunks(np.add, a, b.copy("C")).tobytes() == (a + b).tobytes()
    assert elementwise.in_chunks(np.add, a, b[:1]).shape == a.shape


@pytest.mark.parametrize("network", ["article_cnn", "vgg_small", "resnet_small", "mlp"])
def test_a_training(network):
    """Three steps of a whole network: the same weights, byte by byte."""

    def compute():
        md.manual_seed(0)
        random = np.random.default_rng(0)
        if network == "mlp":
            model, x = md.models.mlp(784), random.normal(size=(64, 784)).astype("f")
        else:
            model = getattr(md.models, network)()
            size = (1, 28) if network == "article_cnn" else (3, 32)
            x = random.normal(size=(32, size[0], size[1], size[1])).astype("f")
        optimizer = md.optim.Adam(model.parameters(), 0.001)
        labels = random.integers(0, 10, len(x))
        for _ in range(3):
            optimizer.zero_grad()
            md.ops.cross_entropy(model(md.tensor(x)), labels).backward()
            optimizer.step()
        return list(model.state_dict().values())

    same_bytes(compute)


@pytest.mark.parametrize("size", [20, 95])
def test_a_parameter_in_chunks_is_changed_to_its_last_number(size, monkeypatch):
    options = {"lr": 0.1, "betas": (0.9, 0.99), "eps": 1e-8, "weight_decay": 0, "decoupled": False}
    random = np.random.default_rng(0)
    start, g = random.normal(size=(2, size))

    def stepped(chunk):
        monkeypatch.setattr(update, "CHUNK", chunk)
        theta, mean, square = start.copy(), np.zeros(size), np.zeros(size)
        update.update("adam", [(theta, g, 1, [mean, square], options)])
        return theta, mean, square

    np.testing.assert_allclose(stepped(10), stepped(10**6), rtol=1e-13)
    np.testing.assert_allclose(stepped(10)[0], start - 0.1 * np.sign(g), rtol=1e-6)


def test_steps_of_parameters_that_share_memory_are_taken_in_turn(monkeypatch):
    monkeypatch.setattr(update, "PART", 50)
    monkeypatch.setattr(update, "CHUNK", 10)

    def compute():
        w = np.linspace(1, 2, 240).reshape(12, 20)
        g = np.linspace(-1, 1, 240).reshape(12, 20)
        options = {**RULES["sgd"], "momentum": 0, "weight_decay": 0.5}
        update.update("sgd", [(w, g, 1, [], options), (w.T, g.reshape(20, 12), 1, [], options)])
        return [w]

    same_bytes(compute)
    w = np.linspace(1, 2, 240).reshape(12, 20)
    g = np.linspace(-1, 1, 240).reshape(12, 20)
    w = w - 0.1 * (g + 0.5 * w)
    w = (w.T - 0.1 * (g.reshape(20, 12) + 0.5 * w.T)).T
    np.testing.assert_allclose(compute()[0], w, rtol=1e-12)


def test_numbers_of_the_other_byte_order_stay_with_numpy():
    a = np.ones(300_000, ">f4")
    assert elementwise.in_chunks(np.add, a, a).dtype == (a + a).dtype == np.dtype("f4")


@pytest.fixture
def parts_of(monkeypatch):
    """How many parts a module shares out, call by call."""

    def watch(module):
        found, real = [], module.share

        def share(task, parts):
            parts = list(parts)
            found.append(len(parts))
            return real(task, parts)

        monkeypatch.setattr(module, "share", share)
        return found

    return watch


def test_a_large_product_is_cut_at_multiples_of_16(parts_of, monkeypatch):
    monkeypatch.setattr(product, "SHARED", 10_000)
    monkeypatch.setattr(product, "HEAD", 0)
    found = parts_of(product)
    for m, k, n, count in (
        (200, 50, 200, 13),  # as many as pieces of 16 rows
        (64, 50, 700, 15),  # pieces of 48 columns, not more than 16 of them
        (100, 110, 100, 7),
        (64, 70, 250, 16),
    ):
        found.clear()
        product.product(np.ones((m, k)), np.ones((k, n)))
        assert found == [count], (m, k, n)
    monkeypatch.undo()
    found = parts_of(product)
    for m, k, n, count in (
        (64, 784, 512, 2),  # 25.7 million: less than twice the least for two
        (512, 64, 784, 2),
        (64, 4096, 128, 4),  # 33.6 million
        (512, 512, 512, 16),
    ):
        found.clear()
        product.product(np.ones((m, k), "f"), np.ones((k, n), "f"))
        assert found == [count], (m, k, n)


@given(st.integers(1, 90), st.integers(1, 40), st.integers(1, 90), st.integers(0, 20_000))
def test_the_parts_of_a_product_are_all_of_it_and_the_first_is_ahead(m, k, n, head):
    assume(m * k * n > 2 * head)  # others are not shared
    seen = []

    def share(task, parts):
        seen.extend((part.start, part.stop) for part in parts)
        threads.share(task, parts)

    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("share", share), ("SHARED", 10_000), ("HEAD", head)):
            patch.setattr(product, name, value)
        a = np.arange(m * k, dtype="d").reshape(m, k) % 7
        b = np.arange(k * n, dtype="d").reshape(k, n) % 5
        np.testing.assert_array_equal(product._shared(a, b), a @ b)
    starts, stops = zip(*seen, strict=True)
    assert starts == (0, *stops[:-1])
    assert all(start % product.EDGE == 0 for start in starts)
    ahead = head // (m * k if 2 * m < n else k * n)
    assert stops[0] - starts[0] >= min(ahead, stops[-1])


def test_the_calling_thread_begins_with_the_larger_part(monkeypatch):
    shared = []
    monkeypatch.setattr(product, "share", lambda task, parts: shared.extend(parts))
    product.product(np.ones((64, 784), "f"), np.ones((784, 512), "f"))
    assert shared == [slice(0, 272), slice(272, 512)]  # 32 columns: 1.6 million multiplications
    shared.clear()
    product.product(np.ones((64, 100), "f"), np.ones((100, 700), "f"))  # 4.5 million
    assert not shared


def test_large_arrays_alike_are_taken_in_chunks_and_others_whole(parts_of, monkeypatch):
    monkeypatch.setattr(elementwise, "CHUNK", 100)
    found = parts_of(elementwise)

    def parts(*arrays):
        found.clear()
        elementwise.in_chunks(np.add, *arrays)
        return sum(found)

    a = np.ones((20, 15), "f")
    assert parts(a, a) == parts(a.T, a.T) == 3
    assert parts(a[:, :10], a[:, :10]) == 0  # gaps in memory
    assert parts(a[:10], a[:10]) == 0  # fewer than two chunks
    assert parts(a, a[:1]) == parts(a, a.astype("d")) == parts(a, np.asfortranarray(a)) == 0
    assert parts(a[:14, :15], a[:14, :15]) == 3
    assert parts(a.reshape(-1)[:200], a.reshape(-1)[:200]) == 2


def test_an_optimizer_shares_large_parameters(parts_of, monkeypatch):
    monkeypatch.setattr(update, "PART", 1000)
    found = parts_of(update)
    for sizes, count in (((500, 400), 1), ((1999,), 1), ((1000, 1000), 2), ((90_000,), 16)):
        found.clear()
        steps = [(np.ones(n), np.ones(n), 1, [], {**RULES["sgd"], "momentum": 0}) for n in sizes]
        update.update("sgd", steps)
        assert found == [count], sizes
