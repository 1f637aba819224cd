"""What holds for every operation: its value, dtype, layouts, graph, and the smallest shapes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl as md
from minidl.testing import gradcheck
from tests.ops.case import same
from tests.ops.cases import CASES

SEEDS = st.integers(0, 2**32 - 1)
everywhere = pytest.mark.parametrize("name", md.ops.__all__)


@everywhere
@given(seed=SEEDS)
def test_value_agrees_with_the_reference(name, seed):
    case = CASES[name]
    arrays, kwargs = case.draw(np.random.default_rng(seed))
    y = case.function(name, kwargs)(*arrays)
    same(y, case.reference(*arrays, **kwargs))
    assert y.dtype == np.float64
    assert not y.requires_grad


@everywhere
@given(seed=SEEDS)
def test_dtype_layout_and_graph(name, seed):
    case = CASES[name]
    arrays, kwargs = case.draw(np.random.default_rng(seed))
    checks = ("layout", "graph") if name == "astype" else ("dtype", "layout", "graph")
    gradcheck(case.function(name, kwargs), *arrays, check=checks, seed=seed)


@everywhere
def test_no_axes_size_one_and_size_zero(name):
    case = CASES[name]
    assert case.edges()
    for arrays, kwargs in case.edges():
        f = case.function(name, kwargs)
        with np.errstate(all="raise"):
            same(f(*arrays), case.reference(*arrays, **kwargs))
            y = f(*(a.astype(np.float32) if a.dtype.kind == "f" else a for a in arrays))
            assert y.dtype == (np.float64 if name == "astype" else np.float32)
        gradcheck(f, *arrays, order=2, check=("projection", "forward-mode", "layout", "graph"))


MANY = [n for n in md.ops.__all__ if len(CASES[n].draw(np.random.default_rng(0))[0]) > 1]


@pytest.mark.parametrize("name", MANY)
@given(seed=SEEDS)
def test_each_input_gets_its_gradient_whether_or_not_the_others_do(name, seed):
    arrays, kwargs = CASES[name].draw(np.random.default_rng(seed))
    f = CASES[name].function(name, kwargs)
    floats = [i for i, a in enumerate(arrays) if a.dtype.kind == "f"]
    together = [
        md.tensor(a, dtype=a.dtype, requires_grad=i in floats) for i, a in enumerate(arrays)
    ]
    y = f(*together)
    u = np.random.default_rng(seed).normal(size=y.shape)
    y.backward(u)
    for i in floats:
        alone = [md.tensor(a, dtype=a.dtype, requires_grad=i == k) for k, a in enumerate(arrays)]
        f(*alone).backward(u)
        assert [t.grad is not None for t in alone] == [i == k for k in range(len(arrays))]
        np.testing.assert_allclose(
            alone[i].grad.numpy(), together[i].grad.numpy(), rtol=1e-12, atol=1e-14
        )


@pytest.mark.parametrize("name", [n for n, case in CASES.items() if case.linear])
@given(seed=SEEDS)
def test_linear_operations_and_their_transposes(name, seed):
    """⟨A x, u⟩ = ⟨x, Aᵀu⟩, and A(2x - z) = 2Ax - Az: no difference, no step."""
    rng = np.random.default_rng(seed)
    (x,), kwargs = CASES[name].draw(rng)
    f = CASES[name].function(name, kwargs)
    z = rng.normal(size=x.shape)
    np.testing.assert_allclose(
        f(2 * x - z).numpy(), 2 * f(x).numpy() - f(z).numpy(), rtol=1e-12, atol=1e-12
    )
    y, pull = md.vjp(f, x)
    u = rng.normal(size=y.shape)
    assert np.sum(y.numpy() * u) == pytest.approx(np.sum(x * pull(u).numpy()), rel=1e-11, abs=1e-11)


@pytest.mark.parametrize(
    "name", ["add", "subtract", "multiply", "divide", "power", "maximum", "minimum", "logaddexp"]
)
def test_a_python_number_never_promotes_float32(name):
    op, x = getattr(md.ops, name), md.tensor([1.5, 2.5])
    for number in (2, 2.0, True):
        assert op(x, number).dtype == op(number, x).dtype == np.float32
    assert op(x, np.array([2.0, 2.0])).dtype == np.float64
