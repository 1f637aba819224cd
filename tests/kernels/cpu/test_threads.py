"""The threads share a layer's work; nobody can tell from the results how many there were."""

import contextlib
import faulthandler
import gc
import os
import signal
import subprocess
import sys
import threading
import time
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minidl as md
from minidl import kernels
from minidl.kernels.cpu import (
    batch_norm,
    blas,
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


@pytest.fixture(autouse=True)
def as_many_as_before():
    """What waits for ever fails; and the next test has the threads it expects."""
    before = md.get_threads()
    faulthandler.dump_traceback_later(100, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()
    md.set_threads(before)


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


def same_bytes(compute):
    """compute() is the same with each number of threads."""
    md.set_threads(1)
    wanted = [a.tobytes() for a in compute()]
    for count in COUNTS[1:]:
        md.set_threads(count)
        assert [a.tobytes() for a in compute()] == wanted, f"{count} threads"


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
            *batch_norm.batch_norm_grads(g, x, *values),
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


@pytest.mark.parametrize("count", COUNTS)
def test_results_come_in_the_order_of_the_parts(count):
    md.set_threads(count)
    assert threads.share(lambda i: (time.sleep(0.001 * (9 - i)), i)[1], range(10)) == [*range(10)]
    assert threads.share(str, []) == []


def test_parts_run_at_the_same_time():
    md.set_threads(3)
    meet = threading.Barrier(3, timeout=20)
    who = threads.share(lambda _: (meet.wait(), threading.get_ident())[1], range(3))
    assert len(set(who)) == 3


def test_after_an_error_no_part_is_begun_and_those_begun_are_ended():
    md.set_threads(3)
    begun, ended = [], []
    meet = threading.Barrier(3, timeout=20)

    def task(i):
        begun.append(i)
        if i < 3:
            meet.wait()  # three parts are under way when one fails
        if i == 1:
            raise ValueError(f"part {i}")
        time.sleep(0.05)
        ended.append(i)

    with pytest.raises(ValueError, match="part 1"):
        threads.share(task, range(50))
    assert {0, 2} <= set(ended)
    assert len(begun) < 10
    assert threads.share(lambda i: i, range(8)) == [*range(8)]


def test_of_several_errors_the_first_parts_is_raised():
    md.set_threads(2)
    meet = threading.Barrier(2, timeout=20)

    def task(i):
        meet.wait()
        time.sleep(0.05 * (1 - i))
        raise ValueError(f"part {i}")

    with pytest.raises(ValueError, match="part 0"):
        threads.share(task, range(2))


def test_an_error_keeps_no_arrays():
    md.set_threads(2)
    array = np.zeros(10)
    gone = weakref.ref(array)
    gc.disable()
    try:
        with contextlib.suppress(ZeroDivisionError):
            threads.share(lambda i, held=array: held[i] / 0 if i else 1 / 0, range(4))
        del array
        deadline = time.monotonic() + 10
        while gone() is not None and time.monotonic() < deadline:
            time.sleep(0.01)
        assert gone() is None
    finally:
        gc.enable()


def test_late_helpers_keep_no_work_waiting():
    """While helpers are busy elsewhere, the calls that they have missed do not pile up."""
    md.set_threads(2)
    hold, held = threading.Event(), threading.Event()

    def occupy(i):
        if threading.current_thread().name == "minidl":
            held.set()
            hold.wait(20)
        else:
            held.wait(20)

    user = threading.Thread(target=threads.share, args=(occupy, range(2)))
    user.start()
    assert held.wait(20)
    arrays = []
    for _ in range(50):
        array = np.zeros(10)
        threads.share(lambda i, a=array: a[i], range(4))
        arrays.append(weakref.ref(array))
        del array
    alive = sum(gone() is not None for gone in arrays)
    hold.set()
    user.join(20)
    assert alive <= 1
    assert threads._team().calls.qsize() <= 1


def test_ctrl_c_leaves_no_thread_at_work():
    """Whoever catches KeyboardInterrupt finds weights that nobody changes any more."""
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=90
    )
    assert done.stdout == "still\n" * 10, done.stderr


INTERRUPTED = """
import os, signal, threading, time
import numpy as np, minidl as md
from minidl.kernels.cpu import blas, update
md.set_threads(3)
theta = np.ones(12_000_000, "f")
p = md.nn.Parameter(theta)
p.grad = md.tensor(np.ones_like(theta))
optimizer = md.optim.Adam([p], 0.001)
before = blas.BLAS_THREADS and blas.one_blas_thread.limit.get()
for i in range(10):
    threading.Timer(0.02 + 0.007 * i, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        while True:
            optimizer.step()
    except KeyboardInterrupt:
        seen = p.data.copy()
        time.sleep(0.05)
        print("still" if (seen == p.data).all() else "moving")
    # Only now is the exception gone, and with it every context that it kept from ending.
    assert not blas.one_blas_thread.limit.inside
    assert not before or blas.one_blas_thread.limit.get() == before
"""


def test_an_interrupt_while_helpers_are_called_leaves_none_at_work(monkeypatch):
    md.set_threads(2)
    begun, ended = threading.Event(), []
    call = threads._Team.call

    def interrupted(team, work):
        call(team, work)
        assert begun.wait(20)
        raise KeyboardInterrupt

    def task(i):
        begun.set()
        time.sleep(0.1)
        ended.append(i)

    monkeypatch.setattr(threads._Team, "call", interrupted)
    with pytest.raises(KeyboardInterrupt):
        threads.share(task, range(2))
    assert ended == [0]


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no timer signal")
def test_a_signal_handler_may_compute():
    done = subprocess.run(
        [sys.executable, "-c", HANDLER], capture_output=True, text=True, timeout=90
    )
    assert done.stdout == "ended\n", done.stderr


HANDLER = """
import faulthandler, signal, time
import numpy as np, minidl as md
faulthandler.dump_traceback_later(60, exit=True)
md.set_threads(3)
a = md.tensor(np.ones((300, 300)))
calls = 0

def compute(*_):
    global calls
    calls += 1
    md.ops.matmul(small, small)
    md.ops.add(big, big)

small = md.tensor(np.ones((150, 150)))
big = md.tensor(np.ones(300_000))
signal.signal(signal.SIGALRM, compute)
signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
end = time.monotonic() + 3
while time.monotonic() < end:
    md.ops.matmul(a, a)
    md.ops.add(big, big)
signal.setitimer(signal.ITIMER_REAL, 0)
assert calls > 10, calls
print("ended")
"""


def test_changing_the_number_beside_working_threads_leaves_no_helper():
    stop = threading.Event()

    def work():
        while not stop.is_set():
            assert threads.share(lambda i: i, range(6)) == [*range(6)]

    users = [threading.Thread(target=work) for _ in range(2)]
    for user in users:
        user.start()
    for i in range(200):
        md.set_threads(1 + i % 5)
    stop.set()
    for user in users:
        user.join(20)
    test_helpers_end_when_others_take_their_place()


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


def test_work_inside_work_is_done_by_the_thread_that_has_it():
    md.set_threads(2)

    def outer(i):
        return threads.share(lambda j: (i, j), range(3))

    assert threads.share(outer, range(4)) == [[(i, j) for j in range(3)] for i in range(4)]


def test_several_threads_of_the_user():
    md.set_threads(2)
    found = {}

    def use(name):
        found[name] = [threads.share(lambda i: i * name, range(20)) for _ in range(50)]

    users = [threading.Thread(target=use, args=(name,)) for name in range(6)]
    for user in users:
        user.start()
    for user in users:
        user.join(30)
    assert found == {name: [[i * name for i in range(20)]] * 50 for name in range(6)}


def test_numpy_warns_as_the_caller_has_said():
    md.set_threads(2)
    meet = threading.Barrier(2, timeout=20)

    def task(_):
        meet.wait()
        return np.float64(1) / np.zeros(2)

    with np.errstate(divide="ignore"):
        threads.share(task, range(2))
    with np.errstate(divide="raise"), pytest.raises(FloatingPointError):
        threads.share(task, range(2))


def test_an_interrupted_part_ends_the_call():
    md.set_threads(2)

    def task(i):
        if i == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        threads.share(task, range(4))


def test_a_sleeping_thread_keeps_no_array():
    md.set_threads(2)
    array = np.zeros(10)
    gone = weakref.ref(array)
    threads.share(lambda i, held=array: held[i], range(4))
    del array
    deadline = time.monotonic() + 10
    while gone() is not None and time.monotonic() < deadline:
        gc.collect()
        time.sleep(0.01)
    assert gone() is None


def test_helpers_end_when_others_take_their_place():
    for count in (5, 2, 7, 1):
        md.set_threads(count)
        threads.share(lambda i: i, range(8))
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if not [t for t in threading.enumerate() if t.name == "minidl"]:
            break
        time.sleep(0.01)
    assert not [t for t in threading.enumerate() if t.name == "minidl"]


@pytest.mark.parametrize("n", [0, -1, 1.0, 2.5, True, "2", None])
def test_numbers_that_are_none(n):
    before = md.get_threads()
    with pytest.raises(md.errors.ConfigError, match=r"set_threads: expected n an int >= 1, got"):
        md.set_threads(n)
    assert md.get_threads() == before


def test_a_number_of_numpy():
    md.set_threads(np.int64(3))
    assert md.get_threads() == 3
    assert type(md.get_threads()) is int


def default(**environment):
    """md.get_threads() in a new process."""
    clean = {n: v for n, v in os.environ.items() if not n.endswith("_THREADS")}
    return subprocess.run(
        [sys.executable, "-c", "import minidl as md; print(md.get_threads())"],
        capture_output=True, text=True, env=clean | environment,
    )  # fmt: skip


def test_how_many_there_are_by_default():
    cores = len(os.sched_getaffinity(0))
    assert 1 <= int(default().stdout) <= cores
    assert int(default(MINIDL_THREADS="3").stdout) == 3
    assert int(default(OMP_NUM_THREADS="1").stdout) == 1 or blas.BLAS_THREADS is None
    for wrong in ("0", "-2", "two", "1.5"):
        failed = default(MINIDL_THREADS=wrong)
        assert f"ConfigError: MINIDL_THREADS: expected an int >= 1, got '{wrong}'" in (
            failed.stderr.replace(f"got {wrong}", f"got '{wrong}'")
        )


def test_a_container_has_its_share_of_the_processor(monkeypatch, tmp_path):
    cores = threads._cores()
    quota = tmp_path / "cpu.max"
    monkeypatch.setattr(threads, "QUOTA", quota)
    for text, least in (("50000 100000", 1), ("150000 100000", 2), ("max 100000", 10**6)):
        quota.write_text(text)
        bound = len(os.sched_getaffinity(0))
        assert threads._cores() == min(bound, least)
    quota.unlink()
    assert threads._cores() == len(os.sched_getaffinity(0)) >= cores


needs_openblas = pytest.mark.skipif(
    blas.BLAS_THREADS is None, reason="NumPy's BLAS is no OpenBLAS whose threads can be told"
)


@needs_openblas
def test_blas_has_one_thread_inside_and_its_own_number_outside():
    count = blas.one_blas_thread.limit.get
    before = count()
    blas.one_blas_thread.limit.set(3)
    try:
        md.set_threads(2)
        inside = threads.share(lambda _: count(), range(4))
        with blas.one_blas_thread(), blas.one_blas_thread():
            inside.append(count())
        assert inside == [1] * 5
        assert count() == 3
        with pytest.raises(ZeroDivisionError):
            threads.share(lambda i: 1 / 0, range(3))
        assert count() == 3
    finally:
        blas.one_blas_thread.limit.set(before)


@needs_openblas
def test_who_never_left_is_inside_no_longer_than_it_lives():
    """An interrupt may come where `__exit__` begins, which then never runs."""
    limit = blas.one_blas_thread.limit
    before = limit.get()
    limit.set(3)
    try:
        context = blas.one_blas_thread()
        context.__enter__()
        assert limit.get() == 1
        del context
        assert not limit.inside
        with blas.one_blas_thread():
            assert limit.get() == 1
        assert limit.get() == 3
        with blas.one_blas_thread():
            limit.set(2)  # the user's own, meanwhile
        assert limit.get() == 2
        limit.set(1)
        with blas.one_blas_thread():
            pass
        assert limit.get() == 1
    finally:
        limit.set(before)


FORK = """
import os, sys, warnings
warnings.simplefilter("ignore")
import numpy as np, minidl as md
from minidl.kernels.cpu import blas, threads
md.set_threads(3)
assert threads.share(lambda i: i, range(9)) == [*range(9)]
with blas.one_blas_thread():
    child = os.fork()
if not child:
    assert threads.share(lambda i: i, range(9)) == [*range(9)]
    x = np.ones((64, 784), "f")
    model = md.models.mlp(784)
    md.ops.cross_entropy(model(md.tensor(x)), np.zeros(64, int)).backward()
    os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), threads.share(str, range(3)))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_the_child_of_a_fork_has_threads_of_its_own():
    done = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, timeout=60)
    assert done.stdout == "0 ['0', '1', '2']\n", done.stderr


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
    monkeypatch.setattr(product, "SHARED", 8_000_000)
    for m, k, n, count in (
        (64, 784, 512, 2),  # 25.7 million: less than twice the least for two
        (512, 64, 784, 2),
        (64, 4096, 128, 4),  # 33.6 million
        (512, 512, 512, 16),
    ):
        found.clear()
        product.product(np.ones((m, k), "f"), np.ones((k, n), "f"))
        assert found == [count], (m, k, n)


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


def test_no_helper_keeps_a_program_from_ending():
    md.set_threads(3)
    threads.share(lambda i: i, range(9))
    helpers = [thread for thread in threading.enumerate() if thread.name == "minidl"]
    assert helpers and all(thread.daemon for thread in helpers)
