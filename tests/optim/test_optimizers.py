"""Optimizers against the formulas in plain NumPy, and against PyTorch."""

import copy

import numpy as np
import pytest

import minidl as md
from minidl import nn, optim
from minidl.errors import CheckpointError, ConfigError, GradientError
from minidl.nn import Parameter
from tests.device import fetch

SHAPES = ((3, 4), (5,), (), (2, 3, 2, 2))
STEPS = 50


def sgd(theta, gs, lr=0.1, momentum=0.0, nesterov=False, weight_decay=0.0):
    v = np.zeros_like(theta)
    for g in gs:
        g = g + weight_decay * theta
        v = momentum * v + g
        theta = theta - lr * (g + momentum * v if nesterov else v)
    return theta


def rmsprop(theta, gs, lr=0.01, alpha=0.99, eps=1e-8, weight_decay=0.0):
    s = np.zeros_like(theta)
    for g in gs:
        g = g + weight_decay * theta
        s = alpha * s + (1 - alpha) * g**2
        theta = theta - lr * g / (np.sqrt(s) + eps)
    return theta


def adam(theta, gs, lr=0.001, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, apart=False):
    m = v = np.zeros_like(theta)
    for t, g in enumerate(gs, 1):
        if apart:
            theta = theta - lr * weight_decay * theta
        else:
            g = g + weight_decay * theta
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g**2
        mean, square = m / (1 - betas[0] ** t), v / (1 - betas[1] ** t)
        theta = theta - lr * mean / (np.sqrt(square) + eps)
    return theta


def adamw(theta, gs, weight_decay=0.01, **options):
    return adam(theta, gs, weight_decay=weight_decay, apart=True, **options)


CASES = [
    ("SGD", sgd, {"lr": 0.1}),
    ("SGD", sgd, {"lr": 0.1, "weight_decay": 0.3}),
    ("SGD", sgd, {"lr": 0.05, "momentum": 0.9}),
    ("SGD", sgd, {"lr": 0.05, "momentum": 0.8, "weight_decay": 0.1}),
    ("SGD", sgd, {"lr": 0.05, "momentum": 0.9, "nesterov": True}),
    ("SGD", sgd, {"lr": 0.05, "momentum": 0.7, "nesterov": True, "weight_decay": 0.2}),
    ("RMSProp", rmsprop, {}),
    ("RMSProp", rmsprop, {"lr": 0.02, "alpha": 0.9, "eps": 1e-3, "weight_decay": 0.1}),
    ("Adam", adam, {}),
    ("Adam", adam, {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1}),
    ("AdamW", adamw, {}),
    ("AdamW", adamw, {"lr": 0.02, "betas": (0.5, 0.9), "weight_decay": 0.3}),
]
cases = pytest.mark.parametrize(
    ("name", "formula", "options"), CASES, ids=[f"{n} {o}" for n, _, o in CASES]
)
kinds = pytest.mark.parametrize("name", ["SGD", "RMSProp", "Adam", "AdamW"])


def draw(dtype=np.float64, order="C"):
    rng = np.random.default_rng(0)
    thetas = [rng.normal(size=s) for s in SHAPES]
    gradients = [[rng.normal(size=s) for s in SHAPES] for _ in range(STEPS)]
    params = [Parameter(np.array(t, order=order), dtype=dtype) for t in thetas]
    return params, thetas, gradients


def put(params, gradients):
    for p, g in zip(params, gradients, strict=True):
        p.grad = md.tensor(g, dtype=p.dtype)


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
