"""Whose numbers a gradient is: no pullback runs over changed values, no gradient is shared."""

import numpy as np
import pytest

import minidl as md
from minidl.errors import GradientError
from tests.device import fetch, shares


def leaf(*values):
    return md.tensor(list(values), dtype="float64", requires_grad=True)


def network():
    md.manual_seed(0)
    net = md.nn.Sequential(md.nn.Dense(3, 4), md.nn.Tanh(), md.nn.Dense(4, 2))
    x = np.random.default_rng(1).normal(size=(6, 3)).astype("f")
    return net, x


def steps_an_optimizer(net):
    optimizer = md.optim.SGD(net.parameters(), 0.1)
    net(np.ones((1, 3), "f")).sum().backward()
    optimizer.step()


def loads_a_state(net):
    net.load_state_dict({n: a + 1 for n, a in net.state_dict().items()})


def assigns_data(net):
    net[2].weight.data = net[2].weight.data * 2


def changes_data_in_place(net):
    net[2].weight.data *= 2


def assigns_the_attribute(net):
    net[2].weight = np.ones((2, 4))


@pytest.mark.parametrize(
    "change",
    [
        steps_an_optimizer,
        loads_a_state,
        assigns_data,
        changes_data_in_place,
        assigns_the_attribute,
    ],
)
def test_a_weight_changed_after_the_forward_pass_is_refused_in_words(change):
    net, x = network()
    loss = net(x).sum()
    change(net)
    words = (
        r"its input of shape \(2, 4\) has been changed since 'linear' used it .* run the forward"
    )
    with pytest.raises(GradientError, match=words):
        loss.backward()
    net(x).sum().backward()  # a new forward pass is fine


def test_a_result_that_was_changed_is_refused_too():
    x = leaf(1.0, 2.0)
    y = x.exp()
    z = y.sum()
    y.data = y.data * 2
    with pytest.raises(GradientError, match="has been changed since"):
        z.backward()


@pytest.mark.parametrize("change", [steps_an_optimizer, loads_a_state, changes_data_in_place])
def test_a_detached_weight_that_was_changed_is_refused_too(change):
    net, _ = network()
    x = md.tensor(np.ones((2, 4)), requires_grad=True)
    y = (net[2].weight.detach().detach() * x).sum()
    change(net)
    with pytest.raises(GradientError, match=r"its input of shape \(2, 4\) has been changed since"):
        y.backward()


def test_a_detached_weight_keeps_its_values_where_the_weight_gets_another_array():
    net, _ = network()
    x = md.tensor(np.ones((2, 4)), requires_grad=True)
    kept = fetch(net[2].weight.data).copy()
    y = (net[2].weight.detach() * x).sum()
    assigns_data(net)
    y.backward()
    np.testing.assert_array_equal(fetch(x.grad), kept)


VIEWS = {
    "reshape": lambda w: w.reshape(4, 2),
    "transpose": lambda w: w.transpose(),
    "slice": lambda w: w[:, 1:],
    "view of a view": lambda w: w.detach()[1:].reshape(4)[::2],
}


@pytest.mark.parametrize("change", [steps_an_optimizer, loads_a_state, changes_data_in_place])
@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_a_view_of_a_weight_that_was_changed_is_refused_too(view, change):
    net, _ = network()
    with md.no_grad():
        seen = view(net[2].weight)
    x = md.tensor(np.ones(seen.shape), requires_grad=True)
    y = (seen * x).sum()
    change(net)
    with pytest.raises(GradientError, match=r"its input of shape .* has been changed since"):
        y.backward()


def test_a_copy_of_a_weight_does_not_change_with_it():
    net, _ = network()
    with md.no_grad():
        seen = net[2].weight * 1.0
    x = md.tensor(np.ones(seen.shape), requires_grad=True)
    y = (seen * x).sum()
    steps_an_optimizer(net)
    y.backward()
    np.testing.assert_array_equal(fetch(x.grad), fetch(seen))


def test_changes_before_and_after_are_fine():
    net, x = network()
    optimizer = md.optim.SGD(net.parameters(), 0.1)
    for _ in range(3):
        optimizer.zero_grad()
        net(x).sum().backward()
        optimizer.step()


@pytest.mark.host
def test_numpy_gives_no_writable_array_of_values_that_a_gradient_needs():
    x = leaf(1.0, 2.0)
    y = x.exp()
    for t in (x, y):
        with pytest.raises(ValueError, match="read-only"):
            t.numpy()[:] = 0
        assert t.data.flags.writeable
    md.tensor([1.0]).numpy()[:] = 5  # nothing is computed from it: its owner may write


def test_two_leaves_never_share_a_gradient():
    for create_graph in (False, True):
        a, b, c = leaf(1.0, 2.0), leaf(3.0, 4.0), leaf(5.0, 6.0)
        cotangent = md.tensor([1.0, 1.0], dtype="float64")
        (a + b - c * 1.0).backward(cotangent, create_graph=create_graph)
        arrays = [cotangent.data, *(t.grad.data for t in (a, b, c))]
        for i, one in enumerate(arrays):
            assert not any(shares(one, other) for other in arrays[i + 1 :])
        md.optim.clip_grad_norm([a, b], 0.1)
        assert fetch(cotangent).tolist() == [1.0, 1.0]
        np.testing.assert_allclose(fetch(a.grad), fetch(b.grad))


@pytest.mark.host
def test_every_gradient_can_be_written():
    a, row = leaf(1.0, 2.0), leaf(1.0)
    md.ops.broadcast_to(a, 3, 2).sum().backward()
    (row + np.zeros((3, 1))).backward(np.broadcast_to(1.0, (3, 1)))
    for t in (a, row):
        assert t.grad.data.flags.writeable
        t.grad.data[...] = 0


def test_a_gradient_of_a_recorded_sweep_can_be_differentiated_although_it_is_a_copy():
    a, b = leaf(2.0), leaf(3.0)
    (a * a + b * b * b).sum().backward(create_graph=True)
    first_a, first_b = a.grad, b.grad
    a.grad = b.grad = None
    (first_a + first_b).sum().backward()
    assert (a.grad.item(), b.grad.item()) == (2.0, 18.0)


def stepped(w, *, rate=1.0):
    """w after a step of descent along ones."""
    w.grad = md.ones(*w.shape, dtype=w.dtype)
    md.optim.SGD([w], rate).step()


def test_a_pullback_of_vjp_is_refused_after_its_argument_was_changed():
    w = md.nn.Parameter(np.array([1.0, 2.0, 3.0]))
    _, pull = md.vjp(lambda w: (w**2).sum(), w)
    pull(1.0)
    stepped(w)
    with pytest.raises(GradientError, match="has been changed since 'power' used it"):
        pull(1.0)
    x = md.tensor([1.0, 2.0])
    _, pull = md.vjp(lambda x: (x * x).sum(), x)
    x.data = x.data + 1
    np.testing.assert_array_equal(fetch(pull(1.0)), [2, 4])  # the old array was not touched
    _, pull = md.vjp(lambda x: (x * x).sum(), x)
    x.data += 1
    with pytest.raises(GradientError, match="has been changed since 'multiply' used it"):
        pull(1.0)


VIEWS = {
    "a transposed view": lambda w: w.T,
    "a slice": lambda w: w[:, :],
    "another shape": lambda w: w.reshape(2, 2),
    "a view of a view": lambda w: w.T[:1].reshape(2, 1),
}


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("way", ["detach", "no_grad"])
def test_values_of_a_view_without_gradient_change_with_what_it_views(name, way):
    w = leaf([1.0, 2.0], [3.0, 4.0])
    h = leaf([1.0, 1.0])
    if way == "detach":
        d = VIEWS[name](w).detach()
    else:
        with md.no_grad():
            d = VIEWS[name](w.T)
    y = (h @ d).sum()
    stepped(w)
    with pytest.raises(GradientError, match="has been changed since 'matmul' used it"):
        y.backward()


def test_a_view_that_was_made_after_a_change_has_its_gradient():
    w = leaf([1.0, 2.0], [3.0, 4.0])
    stepped(w)
    w.grad = None
    (w.T * w.T).sum().backward()
    np.testing.assert_allclose(fetch(w.grad), 2 * fetch(w))


@pytest.mark.host
@pytest.mark.parametrize("index", [np.array(0), [[0, 1]], [0, 1], np.array([0, 1])])
def test_an_index_that_changes_later_does_not_move_the_gradient(index):
    x = leaf(1.0, 2.0, 3.0)
    y = x[index] if isinstance(index, np.ndarray) else x[(index,)]
    first = fetch(y)
    if isinstance(index, np.ndarray):
        index += 1
    elif isinstance(index[0], list):
        index[0][0] = 2
    else:
        index[0] = 2
    y.sum().backward()
    taken = np.zeros(3)
    taken[: np.size(first)] = 1
    np.testing.assert_array_equal(fetch(x.grad), taken)


@pytest.mark.host
def test_a_tensor_as_index_that_changes_later():
    x, i = leaf(1.0, 2.0, 3.0), md.tensor(0)
    y = x[i]
    i.data += 2
    y.backward()
    np.testing.assert_array_equal(fetch(x.grad), [1, 0, 0])


@pytest.mark.host
def test_labels_that_change_later_do_not_change_the_gradient():
    for create_graph in (False, True):
        z, labels = leaf([0.0, 0.0, 0.0], [0.0, 0.0, 0.0]), np.array([0, 1])
        loss = md.ops.cross_entropy(z, labels)
        labels[:] = 2
        loss.backward(create_graph=create_graph)
        third = 1 / 3
        right = [[third - 1, third, third], [third, third - 1, third]]
        np.testing.assert_allclose(fetch(z.grad), np.array(right) / 2, rtol=1e-6)


def test_integers_get_no_gradient_even_if_asked():
    x = md.tensor([1, 2])
    x.requires_grad = True
    with pytest.raises(GradientError, match="an input of 'astype' has dtype int64"):
        (x.astype("float32") * 0.5).sum().backward()


@pytest.mark.host
def test_a_result_in_memory_of_its_own_does_not_change_with_its_input():
    """A formula may return a view of an array that it made. That is no view of its input."""
    w, p = leaf(1.0, 2.0), leaf(1.0, 1.0)
    value = np.exp(w.data).reshape(2, 1)[:, 0]
    y = md.graph.record(value, (w, lambda g, y: g * y), name="exp").detach()
    loss = (y * p).sum()
    w.data *= 2
    loss.backward()
    np.testing.assert_allclose(p.grad.numpy(), np.exp([1.0, 2.0]))


@pytest.mark.host
def test_a_gradient_that_is_handed_over_is_copied_unless_told_otherwise():
    w, g = leaf(1.0, 2.0), leaf(3.0, 4.0)
    w.add_gradient(g.detach())
    g.data *= 2
    np.testing.assert_array_equal(w.grad.numpy(), [3, 4])
