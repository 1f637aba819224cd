"""What an optimizer keeps: saved, loaded, checked and copied."""

import copy

import numpy as np
import pytest

import minidl as md
from minidl import device, nn, optim
from minidl.errors import CheckpointError
from minidl.nn import Parameter
from tests.device import fetch

from .formulas import cases, draw, kinds, put


@cases
def test_a_run_goes_on_from_its_state(name, formula, options):
    params, _, gradients = draw(np.float32)
    optimizer = getattr(optim, name)(params, **options)
    for gs in gradients[:5]:
        put(params, gs)
        optimizer.step()
    optimizer.lr = 0.07
    state = optimizer.state_dict()
    twins = [Parameter(p) for p in params]
    other = getattr(optim, name)(twins, **options)
    put(twins, gradients[9])
    other.step()
    for p, q in zip(params, twins, strict=True):
        q.data[...] = p.data
    other.load_state_dict({n: fetch(a) for n, a in state.items()})
    assert other.lr == 0.07
    for gs in gradients[5:10]:
        for ps, o in ((params, optimizer), (twins, other)):
            put(ps, gs)
            o.step()
    for p, q in zip(params, twins, strict=True):
        assert np.array_equal(p.numpy(), q.numpy())
    assert state["0.step"] == 5
    assert state.keys() == optimizer.state_dict().keys()


def test_a_loaded_state_is_a_copy_in_the_order_of_the_weights():
    p = Parameter(np.asfortranarray(np.ones((2, 3))))
    optimizer = optim.SGD([p], 0.1, momentum=0.9)
    velocity = np.arange(6.0).reshape(2, 3)
    optimizer.load_state_dict({"lr": 0.2, "0.step": 4, "0.velocity": velocity})
    velocity[:] = 0
    kept = optimizer.state["0.velocity"]
    assert kept.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert kept.flags.f_contiguous and kept.dtype == np.float32
    optimizer.load_state_dict({"lr": 0.3})
    assert optimizer.state_dict() == {"lr": 0.3}


def test_every_fault_of_a_state_is_named():
    params = [Parameter(np.zeros((2, 3))), Parameter([1.0])]
    optimizer = optim.Adam(params, 0.1)
    put(params, [np.ones((2, 3)), [1.0]])
    optimizer.step()
    before = fetch(optimizer.state_dict())
    state = optimizer.state_dict()
    state["0.mean"] = np.zeros((3, 2))
    state["7.mean"] = np.zeros(1)
    state["1.velocity"] = np.zeros(1)
    del state["1.square"], state["lr"]
    with pytest.raises(CheckpointError, match=r"Adam\.load_state_dict") as error:
        optimizer.load_state_dict(state)
    for part in (
        "0.mean: expected (2, 3), found (3, 2)",
        "7.mean: expected nothing, found (1,)",
        "1.velocity: expected nothing, found (1,)",
        "1.square: expected (1,), found nothing",
        "lr: expected (), found nothing",
    ):
        assert part in str(error.value)
    after = fetch(optimizer.state_dict())
    assert all(np.array_equal(before[n], after[n]) for n in before | after)


def test_a_deep_copy_of_model_and_optimizer_stays_together():
    net = nn.Dense(2, 1)
    optimizer = optim.SGD(net.parameters(), 0.1, momentum=0.9)
    net(np.ones((1, 2), np.float32)).sum().backward()
    optimizer.step()
    twin, other = copy.deepcopy((net, optimizer))
    assert all(p is q for p, q in zip(twin.parameters(), other.params, strict=True))
    before = net.weight.numpy().copy()
    other.step()
    assert np.array_equal(net.weight.numpy(), before)
    assert not np.array_equal(twin.weight.numpy(), before)


@pytest.mark.host
@kinds
def test_the_state_moves_with_the_model(gpu, name):
    """Steps on the CPU, on the GPU and on the CPU again are as many steps in one place."""
    options = {"momentum": 0.9} if name == "SGD" else {}
    moving, staying = (draw(np.float64)[0] for _ in range(2))
    optimizers = [getattr(optim, name)(ps, 0.1, **options) for ps in (moving, staying)]
    for gs, place in zip(draw()[2], ("cpu", "cuda", "cuda", "cpu"), strict=False):
        for ps, optimizer in zip((moving, staying), optimizers, strict=True):
            for p, g in zip(ps, gs, strict=True):
                where = place if ps is moving else "cpu"
                p.data = device.to_device(p.data, where)
                p.grad = md.Tensor(device.to_device(np.asarray(g), where))
            optimizer.step()
        arrays = [a for n, a in optimizers[0].state.items() if "step" not in n]
        assert arrays and {device.device_of(a) for a in arrays} == {place}
    for p, q in zip(moving, staying, strict=True):
        np.testing.assert_allclose(p.numpy(), q.numpy(), rtol=1e-12)
