"""Gradients of intermediate values: `retain_grad` and `register_hook`."""

import numpy as np
import pytest

import minidl as md
from minidl.errors import GradientError, ShapeError
from tests.device import fetch


def leaf(*values):
    return md.tensor(list(values), dtype="float64", requires_grad=True)


def test_retain_grad_keeps_the_whole_gradient_of_an_intermediate_value():
    x = leaf(1.0, 2.0)
    h = x * 3.0
    h.retain_grad()
    (h * h + h).sum().backward()
    assert fetch(h.grad).tolist() == [7.0, 13.0]  # 2h + 1: both uses, added up
    assert fetch(x.grad).tolist() == [21.0, 39.0]


def test_without_retain_grad_an_intermediate_value_keeps_none():
    h = leaf(1.0) * 3.0
    (h * h).sum().backward()
    assert h.grad is None


def test_retained_gradients_add_up_over_passes():
    h = leaf(1.0) * 3.0
    h.retain_grad()
    y = (h * h).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert fetch(h.grad).tolist() == [12.0]


def test_a_retained_gradient_belongs_to_its_tensor_alone():
    x = leaf(1.0, 2.0)
    h = x * 1.0
    h.retain_grad()
    (h + 0.0).sum().backward()
    h.grad.data[...] = 99
    assert fetch(x.grad).tolist() == [1.0, 1.0]


def test_a_hook_sees_the_whole_gradient_once():
    x, seen = leaf(1.0, 2.0), []
    h = x * 3.0
    hook = h.register_hook(lambda g: seen.append(fetch(g).tolist()))
    x.register_hook(lambda g: seen.append(fetch(g).tolist()))
    y = (h * h + h).sum()
    y.backward(retain_graph=True)
    assert seen == [[7.0, 13.0], [21.0, 39.0]]
    hook.remove()
    hook.remove()
    y.backward()
    assert len(seen) == 3


def test_a_hook_may_replace_the_gradient():
    x = leaf(1.0, 2.0)
    h = x * 3.0
    h.register_hook(lambda g: g * 10)
    h.register_hook(lambda g: g + 1)
    h.sum().backward()
    assert fetch(x.grad).tolist() == [33.0, 33.0]


def test_hooks_work_where_the_sweep_is_recorded():
    x = leaf(2.0)
    h = x * x
    h.register_hook(lambda g: g * 3)
    (h * h).sum().backward(create_graph=True)  # 3·4x³
    first = x.grad
    assert first.item() == 96.0
    x.grad = None
    first.sum().backward()
    # first = 3·2h·2x with h = x². Its slope by h, 12x, meets the hook once more on its way to x.
    assert x.grad.item() == 3 * (12 * 2) * (2 * 2) + 12 * 4


def test_what_no_gradient_reaches_refuses_both():
    for t in (md.tensor([1.0]), leaf(1.0).detach(), leaf(1.0) > 0):
        with pytest.raises(GradientError, match="retain_grad: no gradient will reach"):
            t.retain_grad()
        with pytest.raises(GradientError, match="register_hook: no gradient will reach"):
            t.register_hook(print)


def test_a_layers_output_and_its_gradient_are_seen_by_one_hook():
    net = md.nn.Sequential(md.nn.Dense(3, 4), md.nn.ReLU(), md.nn.Dense(4, 2))
    seen = {}

    def watch(layer, inputs, output):
        seen["output"] = fetch(output)
        output.register_hook(lambda g: seen.update(gradient=fetch(g)))

    net[1].register_forward_hook(watch)
    x = np.random.default_rng(0).normal(size=(5, 3)).astype("f")
    net(x).sum().backward()
    assert seen["output"].shape == seen["gradient"].shape == (5, 4)
    expected = np.ones((5, 2), "f") @ fetch(net[2].weight.data)
    np.testing.assert_allclose(seen["gradient"], expected, rtol=1e-6)


def test_a_hook_may_remove_itself_and_the_next_one_still_runs():
    x, seen = leaf(1.0), []
    hook = x.register_hook(lambda g: hook.remove())
    x.register_hook(lambda g: seen.append("second"))
    (x * 2.0).backward()
    (x * 2.0).backward()
    assert seen == ["second", "second"]


def test_a_function_registered_twice_is_called_twice_and_removed_once():
    x, seen = leaf(1.0), []

    def note(g):
        seen.append(1)

    first, _ = x.register_hook(note), x.register_hook(note)
    first.remove()
    (x * 2.0).backward()
    assert seen == [1]


def test_what_a_hook_returns_must_be_a_gradient():
    joined = lambda g: md.ops.concatenate([g, g])  # noqa: E731
    for wrong in (lambda g: g.sum(), joined, lambda g: 1.0, lambda g: 2 * fetch(g)):
        for tensor_of in (lambda x: x, lambda x: x * 1.0):
            x = leaf(1.0, 2.0)
            h = tensor_of(x)
            h.register_hook(wrong)
            with pytest.raises(ShapeError, match=r"expected a hook of a tensor of shape \(2,\)"):
                (h * 2.0).sum().backward()


def test_an_observer_may_run_a_backward_pass_of_its_own():
    x, inner = leaf(1.0, 2.0), leaf(3.0)

    def look(phase, name, layer, value, sources):
        if phase == "forward" and name == "add":
            with md.enable_grad():
                (inner * 2.0).backward()

    x.grad = md.tensor([1.0, 1.0], dtype="float64")
    with md.graph.observe(look):
        (x * 2.0).sum().backward()
    assert fetch(x.grad).tolist() == [3.0, 3.0]
