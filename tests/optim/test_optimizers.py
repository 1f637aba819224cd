"""Optimizers against the formulas in plain NumPy, and against PyTorch."""

import numpy as np
import pytest

import minidl as md
from minidl import nn, optim
from minidl.errors import ConfigError, GradientError
from minidl.nn import Parameter

from .formulas import cases, draw, kinds, put


@cases
def test_fifty_steps_follow_the_formula(name, formula, options):
    params, thetas, gradients = draw()
    optimizer = getattr(optim, name)(params, **options)
    for gs in gradients:
        put(params, gs)
        optimizer.step()
    for i, (p, theta) in enumerate(zip(params, thetas, strict=True)):
        expected = formula(theta, [gs[i] for gs in gradients], **options)
        np.testing.assert_allclose(p.numpy(), expected, rtol=1e-12, atol=1e-14)


@cases
def test_fifty_steps_follow_pytorch(name, formula, options):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: nothing to compare with")
    params, thetas, gradients = draw()
    optimizer = getattr(optim, name)(params, **options)
    theirs = [torch.nn.Parameter(torch.tensor(t)) for t in thetas]
    peer = getattr(torch.optim, name.replace("Prop", "prop"))(theirs, **options)
    for gs in gradients:
        put(params, gs)
        optimizer.step()
        for p, g in zip(theirs, gs, strict=True):
            p.grad = torch.tensor(g)
        peer.step()
    for p, t in zip(params, theirs, strict=True):
        np.testing.assert_allclose(p.numpy(), t.detach().numpy(), rtol=1e-12, atol=1e-14)


@cases
def test_a_step_is_in_place_and_leaves_the_gradient_alone(name, formula, options):
    params, _, gradients = draw(np.float32, order="F")
    optimizer = getattr(optim, name)(params, **options)
    arrays = [p.data for p in params]
    for gs in gradients[:3]:
        put(params, gs)
        before = [p.grad.numpy().copy() for p in params]
        held = [p.grad for p in params]
        optimizer.step()
        for p, g, grad in zip(params, before, held, strict=True):
            assert p.grad is grad and np.array_equal(grad.numpy(), g)
    assert all(p.data is array for p, array in zip(params, arrays, strict=True))
    assert all(p.dtype == np.float32 and p.data.flags.f_contiguous for p in params)
    assert all(a.dtype == np.float32 for n, a in optimizer.state.items() if "step" not in n)


def test_plain_sgd_is_exact():
    p = Parameter([1.0, -2.0, 3.0])
    p.grad = md.tensor([0.5, 0.25, -1.0])
    optim.SGD([p], 0.1).step()
    expected = np.float32([1, -2, 3]) - np.float32(0.1) * np.float32([0.5, 0.25, -1])
    assert np.array_equal(p.numpy(), expected)


def test_gradients_of_a_model_lower_its_loss():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(32, 4)).astype(np.float32), rng.integers(0, 3, 32)
    recipes = {"SGD": 0.3, "RMSProp": 0.01, "Adam": 0.03, "AdamW": 0.03}
    for name, lr in recipes.items():
        md.manual_seed(0)
        net = nn.Sequential(nn.Dense(4, 16), nn.Tanh(), nn.Dense(16, 3))
        optimizer = getattr(optim, name)(net.parameters(), lr)
        losses = []
        for _ in range(60):
            optimizer.zero_grad()
            loss = md.ops.cross_entropy(net(x), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < 0.6 * losses[0], name


@kinds
def test_a_parameter_without_gradient_is_skipped(name):
    params, _, gradients = draw()
    optimizer = getattr(optim, name)(params, 0.1)
    put(params, gradients[0])
    params[1].grad = None
    before = params[1].numpy().copy()
    optimizer.step()
    assert np.array_equal(params[1].numpy(), before)
    assert not any(key.startswith("1.") for key in optimizer.state_dict())
    optimizer.zero_grad()
    assert all(p.grad is None for p in params)
    optimizer.step()
    assert optimizer.state_dict()["0.step"] == 1


@kinds
def test_a_late_parameter_counts_its_own_steps(name):
    """The start of its averages is made up for as if it were alone."""
    alone, late = Parameter([1.0], dtype=np.float64), Parameter([1.0], dtype=np.float64)
    other = Parameter([1.0])
    one, both = getattr(optim, name)([alone], 0.1), getattr(optim, name)([other, late], 0.1)
    for _ in range(3):
        other.grad = md.tensor([1.0])
        both.step()
    for g in (0.5, -2.0):
        alone.grad, late.grad = md.tensor([g], dtype="float64"), md.tensor([g], dtype="float64")
        one.step()
        both.step()
    assert np.array_equal(alone.numpy(), late.numpy())


@kinds
def test_the_rate_can_change_and_be_zero(name):
    p = Parameter([1.0, 2.0])
    optimizer = getattr(optim, name)([p], 0.0)
    p.grad = md.tensor([1.0, -1.0])
    optimizer.step()
    assert p.numpy().tolist() == [1, 2]
    optimizer.lr = np.float64(0.5)
    optimizer.step()
    assert p.dtype == np.float32 and (p.numpy() != [1, 2]).all()
    for lr in (-1, float("nan"), float("inf"), "0.1", None):
        optimizer.lr = lr
        with pytest.raises(ConfigError, match=f"{name}: expected lr >= 0, got"):
            optimizer.step()


@kinds
@pytest.mark.parametrize("lr", [-0.1, float("nan"), float("inf"), "fast", None, True])
def test_impossible_rates(name, lr):
    with pytest.raises(ConfigError, match=f"{name}: expected lr >= 0, got"):
        getattr(optim, name)([Parameter([1.0])], lr)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("SGD", {"momentum": 1.0}),
        ("SGD", {"momentum": -0.1}),
        ("SGD", {"weight_decay": -1}),
        ("SGD", {"weight_decay": float("nan")}),
        ("RMSProp", {"alpha": 1}),
        ("RMSProp", {"eps": 0}),
        ("Adam", {"betas": (1.0, 0.9)}),
        ("Adam", {"betas": (0.9, -0.1)}),
        ("Adam", {"betas": (0.9, float("nan"))}),
        ("Adam", {"eps": -1e-8}),
        ("AdamW", {"weight_decay": -0.1}),
        ("AdamW", {"betas": (0.9, 1.0)}),
    ],
)
def test_impossible_options(name, options):
    (option,) = options
    with pytest.raises(ConfigError, match=f"{name}: expected {option} "):
        getattr(optim, name)([Parameter([1.0])], 0.1, **options)


@kinds
def test_impossible_parameters(name):
    p = Parameter([1.0])
    for params in ([], [p, p], [np.ones(2)], [p, md.tensor([1.0])], [p * 2], ["weight"]):
        with pytest.raises(ConfigError, match=f"{name}: expected params .*model.parameters()"):
            getattr(optim, name)(params, 0.1)
    assert len(getattr(optim, name)(iter([p]), 0.1).params) == 1
    t = md.tensor([1.0], requires_grad=True)
    assert getattr(optim, name)([t], 0.1).params == [t]


def test_options_after_the_rate_are_named():
    for name in ("SGD", "RMSProp", "Adam", "AdamW"):
        with pytest.raises(TypeError):
            getattr(optim, name)([Parameter([1.0])], 0.1, 0.9)
    with pytest.raises(TypeError):
        optim.SGD([Parameter([1.0])])


@kinds
def test_optimizers_are_told_apart_by_identity_and_print_no_parameters(name):
    p = Parameter([1234.5])
    one, other = getattr(optim, name)([p], 0.1), getattr(optim, name)([p], 0.1)
    assert one != other
    assert len({one, other, one}) == 2
    assert "1234.5" not in repr(one)


@kinds
def test_a_gradient_of_another_shape_is_refused(name):
    p = Parameter([1.0, 2.0])
    p.grad = md.tensor([[1.0, 2.0]])
    with pytest.raises(
        GradientError, match=r"gradient \(2,\) on \w+ for parameter 0, got \(1, 2\)"
    ):
        getattr(optim, name)([p], 0.1).step()
    assert p.numpy().tolist() == [1, 2]
