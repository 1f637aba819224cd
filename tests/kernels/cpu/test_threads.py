"""The threads that share work: order, errors, interrupts, signals, forks, their number."""

import contextlib
import gc
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from types import SimpleNamespace

import numpy as np
import pytest

import minidl as md
from minidl.kernels.cpu import blas, threads

pytestmark = pytest.mark.host
COUNTS = (1, 2, 3, 8)


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
    with monkeypatch.context() as patch:
        quota.write_text("500000 100000")
        patch.delattr(os, "sched_getaffinity")
        patch.setattr(os, "cpu_count", lambda: None)  # a system that does not tell
        assert threads._cores() == 1
    for text, least in (("50000 100000", 1), ("150000 100000", 2), ("max 100000", 10**6)):
        quota.write_text(text)
        bound = len(os.sched_getaffinity(0))
        assert threads._cores() == min(bound, least)
    quota.unlink()
    assert threads._cores() == len(os.sched_getaffinity(0)) >= cores
    monkeypatch.setattr(os, "sched_getaffinity", {0: range(5)}.get)  # 0: this process
    assert threads._cores() == 5
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)  # a system that does not tell
    assert threads._cores() == 1


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
    assert md.get_threads() == 3
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


def test_no_helper_keeps_a_program_from_ending():
    md.set_threads(3)
    threads.share(lambda i: i, range(9))
    helpers = [thread for thread in threading.enumerate() if thread.name == "minidl"]
    assert helpers and all(thread.daemon for thread in helpers)
    assert len(threads._team().helpers) == 2  # the calling thread is the third


def test_of_an_error_and_ctrl_c_after_it_ctrl_c_is_raised():
    def task(i):
        raise ValueError(i)

    def interrupted():
        raise KeyboardInterrupt

    md.set_threads(1)
    work = threads._Work(task, [0, 1])
    work.all_ended = SimpleNamespace(acquire=interrupted, release=lambda: None)
    with pytest.raises(KeyboardInterrupt):
        work.run(threads._team())


def test_after_a_fork_there_is_a_team_of_the_same_size(monkeypatch):
    before = threads._Team(3)
    monkeypatch.setattr(threads, "_current", before)
    threads._after_fork()
    assert threads._current is not before and md.get_threads() == 3
    monkeypatch.setattr(threads, "_current", None)
    threads._after_fork()
    assert threads._current is None
