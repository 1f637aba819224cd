"""The rules against the published formulas and PyTorch, and their fast versions against them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minidl as md
from minidl import kernels, nn, optim
from minidl.errors import ConfigError
from minidl.kernels import update
from minidl.nn import Parameter
from tests.kernels.cases import rearranged
from tests.standin.kernels import COMPILER

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
    optimizer.lr = np.float32(0.5)
    optimizer.step()
    assert p.dtype == np.float32
    before = p.numpy().copy()
    for lr in (-1, float("nan"), float("inf"), "0.1", None, np.float32("nan"), np.float64(-1)):
        with pytest.raises(ConfigError, match=f"{name}: expected lr >= 0, got"):
            optimizer.lr = lr
        optimizer.param_groups[0]["lr"] = lr
        with pytest.raises(ConfigError, match=f"{name}: expected lr >= 0, got"):
            optimizer.step()
    assert np.array_equal(p.numpy(), before)


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
        ("Adam", {"betas": 0.9}),
        ("Adam", {"betas": (0.9,)}),
        ("Adam", {"betas": "09"}),
        ("AdamW", {"betas": (0.9, 0.99, 0.999)}),
        ("AdamW", {"betas": (0.9, "0.99")}),
        ("SGD", {"nesterov": 0.9}),
    ],
)
def test_impossible_options(name, options):
    (option,) = options
    with pytest.raises(ConfigError, match=f"{name}: expected {option} "):
        getattr(optim, name)([Parameter([1.0])], 0.1, **options)


@kinds
def test_impossible_parameters(name):
    p = Parameter([1.0])
    for params in ([], [p, p], [np.ones(2)], [p * 2], ["weight"], [p, None], {"w": p}, 3, [{}, p]):
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
def test_what_it_prints_names_its_options(name):
    text = repr(getattr(optim, name)([Parameter([1.0]), Parameter([2.0])], 0.1))
    assert text.startswith(f"{name}(lr=0.1, ") and text.endswith(", 2 parameters)")


def test_nesterov_without_momentum_is_refused():
    p = Parameter([1.0])
    for options in ({"nesterov": True}, {"nesterov": True, "momentum": 0.0}):
        with pytest.raises(ConfigError, match="SGD: expected a momentum above 0 with nesterov"):
            optim.SGD([p], 0.1, **options)
    optimizer = optim.SGD([p], 0.1, nesterov=np.True_, momentum=0.5)
    optimizer.momentum = 0
    p.grad = md.tensor([1.0])
    with pytest.raises(ConfigError, match="SGD: expected a momentum above 0"):
        optimizer.step()


def test_options_are_attributes_too():
    p = Parameter([1.0, 2.0], dtype=np.float32)
    optimizer = optim.Adam([p], betas=[np.float64(0.5), 0.9], eps=np.float32(1e-3))
    assert optimizer.betas == [0.5, 0.9] and optimizer.weight_decay == 0
    optimizer.weight_decay = np.float64(0.1)
    p.grad = md.tensor([1.0, 1.0])
    optimizer.step()
    assert p.dtype == np.float32
    expected = optim.rules.adam(
        np.array([1.0, 2.0]), np.ones(2), 1, np.zeros(2), np.zeros(2),
        lr=1e-3, betas=(0.5, 0.9), eps=1e-3, weight_decay=0.1, decoupled=False,
    )  # fmt: skip
    np.testing.assert_allclose(p.numpy(), expected[0], rtol=1e-6)


DRAWN = {
    "sgd": {
        "momentum": st.sampled_from([0.0, 0.5, 0.9]),
        "nesterov": st.booleans(),
    },
    "rmsprop": {"alpha": st.floats(0, 0.999), "eps": st.floats(1e-8, 1)},
    "adam": {
        "betas": st.tuples(st.floats(0, 0.999), st.floats(0, 0.999)),
        "eps": st.floats(1e-8, 1),
        "decoupled": st.booleans(),
    },
}


@pytest.mark.host
@pytest.mark.parametrize("place", ["cpu", "gpu"])
@given(st.data())
@settings(max_examples=30)
def test_every_fast_version_is_its_formula(request, place, data):
    """In place or in one launch, for each type, option, shape and memory order."""
    if place == "gpu" and COMPILER is None:
        pytest.skip("no g++ to compile the kernels with")
    there = np.asarray if place == "cpu" else request.getfixturevalue("gpu")
    rule = data.draw(st.sampled_from(sorted(DRAWN)))
    options = data.draw(st.fixed_dictionaries(DRAWN[rule]))
    options |= {"lr": data.draw(st.floats(0, 1)), "weight_decay": data.draw(st.floats(0, 1))}
    random = np.random.default_rng(data.draw(st.integers(0, 99)))
    n_slots = {"sgd": int(options.get("momentum", 0) > 0), "rmsprop": 1, "adam": 2}[rule]
    jobs, formulas = [], []
    for dtype in data.draw(st.lists(st.sampled_from("fd"), min_size=1, max_size=3)):
        shape = data.draw(st.lists(st.integers(1, 3), max_size=3))
        draws = [random.normal(size=shape).astype(dtype) for _ in range(2 + n_slots)]
        if place == "cpu":
            draws = [rearranged(random, a) if a.ndim else a for a in draws]
        theta, g, *slots = (np.asarray(a) for a in draws)
        slots = [abs(slot) for slot in slots] if rule != "sgd" else slots
        t = data.draw(st.integers(1, 50))
        formulas.append(getattr(optim.rules, rule)(theta, g, t, *slots, **options))
        theta, g, *slots = (there(np.array(a)) for a in (theta, g, *slots))
        jobs.append((theta, g, t, slots, options))
    before = [md.device.to_host(g).copy() for _, g, *_ in jobs]
    assert kernels.update(rule, jobs) == []
    for (theta, g, _, slots, _), right, old in zip(jobs, formulas, before, strict=True):
        assert np.array_equal(md.device.to_host(g), old)
        close = 1e-5 if theta.dtype == np.float32 else 1e-12
        for found, expected in zip([theta, *slots], right, strict=False):
            found = md.device.to_host(found)
            assert found.dtype == theta.dtype
            np.testing.assert_allclose(found, expected, rtol=close, atol=close)


@pytest.mark.host
@kinds
@pytest.mark.parametrize("kind", ["float16", "wider gradients", "whole gradients", "no elements"])
def test_the_formula_runs_where_no_fast_version_does(name, kind):
    shape = (0, 2) if kind == "no elements" else (3, 2)
    dtype = np.float16 if kind == "float16" else np.float32
    theta = np.linspace(-1, 1, 6).reshape(3, 2)[: shape[0]].astype(dtype)
    g = np.arange(1, 7).reshape(3, 2)[: shape[0]]
    g = g.astype({"float16": dtype, "wider gradients": np.float64}.get(kind, g.dtype))
    p = Parameter(theta, dtype=dtype)
    p.grad = md.Tensor(g)
    array = p.data
    optimizer = getattr(optim, name)([p], 0.1, weight_decay=0.5)
    left = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "update", lambda *a: left.extend(update(*a)) or left)
        optimizer.step()
    assert len(left) == 1 and p.data is array and p.dtype == dtype
    slots = [np.zeros(shape)] * len(optimizer.slots(optimizer.checked(optimizer.param_groups[0])))
    options = optimizer.checked(optimizer.param_groups[0])
    expected = type(optimizer).formula(theta.astype(float), g.astype(float), 1, *slots, **options)
    close = 2e-2 if dtype == np.float16 else 1e-5
    np.testing.assert_allclose(p.numpy(), expected[0], rtol=close, atol=close)


def test_momentum_can_be_switched_on_between_steps():
    p = Parameter([1.0, 2.0], dtype=np.float64)
    p.grad = md.tensor([1.0, 1.0], dtype="float64")
    optimizer = optim.SGD([p], 0.1)
    optimizer.step()
    optimizer.momentum = 0.5
    optimizer.step()
    optimizer.step()
    np.testing.assert_allclose(p.numpy(), np.array([1.0, 2.0]) - 0.1 - 0.1 - 0.15)
    assert optimizer.state["0.step"] == 3


@kinds
def test_a_parameter_of_another_shape_is_refused(name):
    p = Parameter([1.0, 2.0])
    p.grad = md.tensor([1.0, 1.0])
    options = {"momentum": 0.9} if name == "SGD" else {}
    optimizer = getattr(optim, name)([p], 0.1, **options)
    optimizer.step()
    p.data, p.grad = md.tensor([1.0, 2.0, 3.0]).data, md.tensor([1.0, 1.0, 1.0])
    with pytest.raises(ConfigError, match=rf"{name}: .* shape \(2,\), .* got \(3,\); make a new"):
        optimizer.step()
    assert optimizer.state["0.step"] == 1
