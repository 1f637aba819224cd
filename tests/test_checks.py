"""Parameters and gradients as callers hand them over: taken, or refused in words."""

import mmap

import numpy as np
import pytest

import minidl as md
from minidl import nn, optim
from minidl.checks import check
from minidl.errors import ConfigError, GradientError
from minidl.nn import Parameter
from tests.optim.formulas import kinds

CLIPS = ["clip_grad_value", "clip_grad_norm", "clip_grad_adaptive"]
clips = pytest.mark.parametrize("clip", CLIPS)


def model():
    net = nn.Sequential(nn.Dense(2, 3), nn.Tanh(), nn.Dense(3, 1))
    for p in net.parameters():
        p.grad = md.Tensor(p._module.full_like(p.data, 2))
    return net


HOLDERS = {
    "a model": lambda net: net,
    "a list": lambda net: list(net.parameters()),
    "a generator": lambda net: (p for p in net.parameters()),
    "a tuple": lambda net: tuple(net.parameters()),
    "named parameters": lambda net: net.named_parameters(),
    "named parameters, one by one": lambda net: iter(net.named_parameters()),
    "the values of a dictionary": lambda net: dict(net.named_parameters()).values(),
}


@pytest.mark.parametrize("holder", HOLDERS)
def test_all_holders_of_tensors_are_the_same_to_a_clipper(holder):
    for name in CLIPS:
        net, twin = model(), model()
        twin.load_state_dict(net.state_dict())
        found = getattr(optim, name)(HOLDERS[holder](net), 0.5)
        assert found == getattr(optim, name)(twin.parameters(), 0.5) > 0.5
        for p, q in zip(net.parameters(), twin.parameters(), strict=True):
            assert np.array_equal(p.grad.numpy(), q.grad.numpy()) and (p.grad.numpy() < 2).all()


@pytest.mark.parametrize("holder", HOLDERS)
@kinds
def test_and_to_an_optimizer(name, holder):
    net = model()
    assert getattr(optim, name)(HOLDERS[holder](net), 0.1).params == list(net.parameters())


def test_one_tensor_is_one_parameter():
    x = md.tensor([[3.0, -4.0]], requires_grad=True)
    (x * x).sum().backward()
    assert optim.clip_grad_norm(x, 5.0) == pytest.approx(10)
    np.testing.assert_allclose(x.grad.numpy(), [[3, -4]], rtol=1e-6)
    assert optim.clip_grad_value(x, 1.0) == pytest.approx(4)
    assert x.grad.numpy().tolist() == [[1, -1]]
    optim.SGD(x, 1.0).step()
    assert x.numpy().tolist() == [[2, -3]]


def test_a_tensor_given_twice_is_clipped_once():
    x = md.tensor([3.0, 4.0], requires_grad=True)
    x.grad = md.tensor([3.0, 4.0])
    assert optim.clip_grad_norm([x, x], 1.0) == pytest.approx(5)
    np.testing.assert_allclose(x.grad.numpy(), [0.6, 0.8], rtol=1e-6)


@clips
@pytest.mark.parametrize(
    "params", [3.0, None, "weights", [np.ones(2)], np.ones(2), {"w": 1}, [("w", np.ones(2))], [[]]]
)
def test_anything_else_is_refused(clip, params):
    with pytest.raises(
        ConfigError, match=rf"{clip}: expected params to be a model, .* got \w+ with"
    ):
        getattr(optim, clip)(params, 1.0)


@kinds
def test_a_frozen_parameter_is_skipped_until_it_is_trained_again(name):
    frozen, free = Parameter([1.0]), Parameter([1.0])
    frozen.requires_grad = False
    optimizer = getattr(optim, name)([frozen, free], 0.1)
    frozen.grad, free.grad = md.tensor([1.0]), md.tensor([1.0])
    optimizer.step()
    assert frozen.numpy() == 1 and free.numpy() != 1 and frozen.version == 0
    assert not any(key.startswith("0.") for key in optimizer.state_dict())
    frozen.requires_grad = True
    optimizer.step()
    assert frozen.numpy() != 1


@kinds
def test_a_step_is_counted_as_a_change_of_the_values(name):
    w, idle = Parameter([2.0]), Parameter([2.0])
    loss = (w * w * idle).sum()
    w.grad = md.tensor([1.0])
    getattr(optim, name)([w, idle], 0.1).step()
    assert (w.version, idle.version) == (1, 0)
    with pytest.raises(GradientError, match="has been changed since"):
        loss.backward()


@clips
def test_clipping_is_counted_as_a_change_of_the_gradient(clip):
    w = md.tensor([2.0], requires_grad=True)
    (w**3).sum().backward(create_graph=True)
    further = w.grad * w.grad
    getattr(optim, clip)(w, 0.1)
    assert w.grad.version == 1
    with pytest.raises(GradientError, match="changed since"):
        further.sum().backward()


@pytest.mark.host
def test_arrays_and_lists_are_taken_as_gradients():
    for grad in (np.array([3.0, 4.0], np.float32), np.array([3, 4]), [3.0, 4.0]):
        p = Parameter([1.0, 2.0])
        p.grad = grad
        assert optim.clip_grad_norm([p], 10.0) == pytest.approx(5)
        optim.SGD([p], 0.5).step()
        np.testing.assert_allclose(p.numpy(), [-0.5, 0])
        assert isinstance(p.grad, md.Tensor)


@pytest.mark.host
@pytest.mark.parametrize(
    "grad",
    [md.Tensor(np.ones((1, 2), "f")), np.ones(3), np.ones(2, complex), np.ones(2, bool), 1.0],
)
@pytest.mark.parametrize("call", ["SGD", "RMSProp", "Adam", "AdamW", *CLIPS])
def test_gradients_that_do_not_fit_are_refused_before_anything_changes(call, grad):
    good, p = Parameter([1.0]), Parameter([1.0, 2.0])
    good.grad, p.grad = md.tensor([5.0]), grad
    words = rf"{call}: expected a real gradient \(2,\) on cpu for parameter 1, got \(.*\) of \w+ on"
    with pytest.raises(GradientError, match=words):
        if call in CLIPS:
            getattr(optim, call)([good, p], 1.0)
        else:
            getattr(optim, call)([good, p], 0.1).step()
    assert good.numpy() == 1 and p.numpy().tolist() == [1, 2] and good.grad.numpy() == 5


def read_only(kind, values):
    held = values.tobytes()
    if kind == "a map":
        area = mmap.mmap(-1, max(len(held), 1))
        area[:] = held
        held = memoryview(area).toreadonly()
    array = np.frombuffer(held, values.dtype).reshape(values.shape)
    assert not array.flags.writeable
    return array


@pytest.mark.host
@kinds
@pytest.mark.parametrize("kind", ["bytes", "a map"])
@pytest.mark.parametrize("shape", [(3, 4), (), (1,)])
def test_a_step_never_writes_through_read_only_memory(name, kind, shape):
    good, p = Parameter([1.0]), Parameter(np.ones(shape))
    p.data = read_only(kind, np.ones(shape, np.float32))
    good.grad, p.grad = md.tensor([1.0]), md.Tensor(np.ones(shape, np.float32))
    optimizer = getattr(optim, name)([good, p], 0.1, weight_decay=0.1)
    with pytest.raises(GradientError, match=f"{name}: expected parameter 1 of shape .*read-only"):
        optimizer.step()
    assert (p.numpy() == 1).all() and good.numpy() == 1 and "0.step" not in optimizer.state


@pytest.mark.host
@clips
def test_nor_does_a_clip(clip):
    good, p = Parameter([1.0]), Parameter([1.0, 2.0])
    good.grad = md.tensor([9.0])
    p.grad = read_only("bytes", np.array([6.0, 8.0], np.float32))
    with pytest.raises(GradientError, match=rf"{clip}: expected the gradient of parameter 1 of sh"):
        getattr(optim, clip)([good, p], 1.0)
    assert good.grad.numpy() == 9 and p.grad.numpy().tolist() == [6, 8]


@pytest.mark.parametrize(
    ("rule", "right", "wrong"),
    [
        ("an int", -1, 0.5),
        ("an int >= 0", 0, -1),
        ("an int >= 1", 1, 0),
        ("in [0, 1)", 0, 1),
        ("in [0, 1]", 1, 1.5),
        (">= 0", 0, -1e-9),
        ("> 0", 1e-9, 0),
    ],
)
def test_the_ends_of_a_range(rule, right, wrong):
    check("call", rule, option=right)
    with pytest.raises(ConfigError, match=f"option.*{wrong}"):
        check("call", rule, option=wrong)
