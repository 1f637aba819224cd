"""The record and the sweep: accumulation, depth, no_grad, threads, errors, observers."""

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl as md
from minidl import graph
from minidl.errors import GradientError, ShapeError
from tests.device import put, shares


def leaf(*values, dtype="float64"):
    return md.tensor(list(values), dtype=dtype, requires_grad=True)


# The sweep


@pytest.mark.host
def test_a_chain_of_100_000_operations():
    x = leaf(1.0, 2.0)
    y = x
    for _ in range(100_000):
        y = y + 1.0
    y.backward([3.0, 4.0], retain_graph=True)
    assert x.grad.numpy().tolist() == [3.0, 4.0]
    del y  # the whole graph goes at once, and without recursion too


def test_a_ladder_of_diamonds_is_walked_once():
    x = leaf(1.0)
    y = x
    for _ in range(60):  # 2^60 paths
        y = 0.5 * y + 0.5 * y
    y.sum().backward()
    assert x.grad.item() == 1.0


def test_each_pullback_runs_once_and_only_where_it_is_needed():
    runs = []

    def op(*inputs):
        pulls = [(t, lambda g, y, i=i: runs.append(i) or g) for i, t in enumerate(inputs)]
        return graph.record(sum(t.data for t in inputs), *pulls)

    a, b, c = leaf(1.0), md.tensor([2.0]), leaf(3.0)
    y = op(a, b, c)
    (y * 2.0 + y * y).backward()
    assert sorted(runs) == [0, 2]
    assert b.grad is None


def test_a_shared_input_gets_the_sum():
    x = leaf(3.0, 5.0)
    (x * x + x * 2.0 + x).sum().backward()
    assert x.grad.numpy().tolist() == [9.0, 13.0]


def test_passes_add_up_and_leave_the_first_gradient_alone():
    x = leaf(3.0)
    y = x * x
    y.backward(retain_graph=True)
    first = x.grad
    y.backward(retain_graph=True)
    assert (first.item(), x.grad.item()) == (6.0, 12.0)
    y.backward([10.0])
    assert x.grad.item() == 72.0


def test_a_graph_serves_one_pass_unless_it_is_kept():
    y = (leaf(2.0) ** 2.0).sum()
    y.backward(retain_graph=True)
    y.backward()
    with pytest.raises(GradientError, match=r"freed by an earlier backward pass"):
        y.backward()


def test_gradients_lie_only_on_leaves():
    x, constant = leaf(3.0), md.tensor([1.0])
    middle = x * 2.0
    (middle * constant).backward()
    assert x.grad.item() == 2.0
    assert middle.grad is None
    assert constant.grad is None


def test_a_leaf_is_its_own_gradient():
    x = leaf(3.0)
    x.backward()
    assert x.grad.item() == 1.0


def test_a_gradient_is_nobody_elses_array():
    x, z = leaf(1.0, 2.0), leaf(3.0, 4.0)
    u = np.array([5.0, 6.0])
    y = x + z
    y.backward(u)
    for a, b in ((x.grad, z.grad), (x.grad, y), (x.grad, x)):
        assert not shares(a.data, b.data)
    u[:] = 0
    assert x.grad.numpy().tolist() == [5.0, 6.0]


def test_a_gradient_lies_in_memory_as_its_value_does():
    x = leaf(0.0)
    x.data = put(np.asfortranarray(np.ones((3, 4))))
    (x * np.ones((3, 4))).sum().backward()
    assert x.grad.data.flags.f_contiguous


@given(seed=st.integers(0, 2**32 - 1))
def test_broadcast_inputs_get_the_sum(seed):
    rng = np.random.default_rng(seed)
    full = tuple(int(n) for n in rng.integers(1, 4, rng.integers(1, 4)))
    small = tuple(1 if rng.random() < 0.5 else n for n in full)[rng.integers(len(full) + 1) :]
    x = md.tensor(rng.normal(size=small), dtype="float64", requires_grad=True)
    u, w = rng.normal(size=full), rng.normal(size=full)
    (x * w).backward(u)
    expected = np.zeros(small)
    for i in np.ndindex(full):
        at = tuple(0 if n == 1 else k for k, n in zip(i[len(full) - len(small) :], small))  # noqa: B905
        expected[at] += u[i] * w[i]
    assert x.grad.shape == small
    np.testing.assert_allclose(x.grad.numpy(), expected, rtol=1e-12, atol=1e-12)


def test_mixed_precision_gives_each_input_its_own_dtype():
    x = md.tensor([1.0], requires_grad=True)
    z = md.tensor([2.0], dtype="float64", requires_grad=True)
    y = x * z
    assert y.dtype == np.float64
    y.backward()
    assert (x.grad.dtype, z.grad.dtype) == (np.float32, np.float64)


# no_grad, errors, threads


def test_no_grad_records_nothing_and_can_be_left_again():
    x = leaf(2.0)
    with md.no_grad():
        assert not graph.is_recording()
        y = x * x
        with md.enable_grad():
            assert graph.is_recording()
            z = x * x
        assert not (x + 1.0).requires_grad
    assert graph.is_recording()
    assert not y.requires_grad
    assert y.node is None
    assert z.requires_grad
    assert (x * x).requires_grad


def test_an_island_of_no_grad_is_a_constant():
    x = leaf(3.0)
    with md.no_grad():
        constant = x * x
    (x * constant).backward()
    assert x.grad.item() == 9.0
    x.grad = None
    (x * (x * x).detach()).backward()
    assert x.grad.item() == 9.0


def test_state_is_restored_after_an_error():
    x = leaf(1.0)

    def broken(g, y):
        raise ZeroDivisionError

    for create in (False, True):
        with pytest.raises(ZeroDivisionError):
            graph.record(x.data, (x, broken)).backward(create_graph=create)
        assert graph.is_recording()
    with pytest.raises(ZeroDivisionError), md.no_grad():
        raise ZeroDivisionError
    assert graph.is_recording()


def test_no_grad_holds_for_one_thread():
    inside, done, found = threading.Event(), threading.Event(), []

    def other():
        with md.no_grad():
            inside.set()
            done.wait(10)
            found.append((leaf(1.0) * 2.0).requires_grad)

    thread = threading.Thread(target=other)
    thread.start()
    inside.wait(10)
    found.append((leaf(1.0) * 2.0).requires_grad)
    done.set()
    thread.join()
    assert found == [True, False]


def test_threads_build_and_sweep_their_own_graphs():
    results = [None] * 4

    def work(k):
        x = leaf(float(k + 1))
        y = x
        for _ in range(300):
            y = y * 1.0 + x * 0.5
        y.sum().backward()
        results[k] = x.grad.item()

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert results == [151.0] * 4


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (
            lambda: md.tensor([1.0]).backward(),
            GradientError,
            r"backward: expected a result that needs a gradient, got shape \(1,\), dtype float32",
        ),
        (
            lambda: (leaf(1.0, 2.0) * 2.0).backward(),
            GradientError,
            r"backward: expected a scalar, got shape \(2,\); reduce it with \.sum",
        ),
        (
            lambda: (leaf(1.0, 2.0) * 2.0).backward(np.ones(3)),
            ShapeError,
            r"backward: expected a gradient of shape \(2,\), got \(3,\)",
        ),
        (
            lambda: (leaf(1.0, 2.0) * 2.0).backward(md.tensor(1.0)),
            ShapeError,
            r"backward: expected a gradient of shape \(2,\), got \(\)",
        ),
    ],
)
def test_errors(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_the_cotangent_of_one_element_is_one_in_its_shape():
    x = leaf(2.0)
    y = (x * x).reshape(1, 1)
    y.backward()
    assert x.grad.numpy().tolist() == [4.0]
    x = leaf(2.0)
    (x * x).backward(np.array([1], dtype=int))
    assert x.grad.numpy().tolist() == [4.0]


def test_a_fast_way_gives_no_gradient_to_an_input_that_needs_none():
    x, w = md.tensor(np.ones(3)), md.tensor(np.ones(3), requires_grad=True)
    y = graph.record(
        x.data * w.data,
        (x, lambda g, y: g * w),
        (w, lambda g, y: g * x),
        name="product",
        fast=lambda g, y, needed: [g * w, g * x],  # both, wanted or not
    )
    y.sum().backward()
    assert x.grad is None
    assert w.grad.numpy().tolist() == [1, 1, 1]
