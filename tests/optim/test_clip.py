"""Clipping: what is measured, what is changed, and what is refused."""

import numpy as np
import pytest

import minidl as md
from minidl import optim
from minidl.errors import ConfigError, GradientError
from minidl.nn import Parameter

SHAPES = ((3, 4), (5,), (), (4, 2, 3, 3))


def params(scale=1.0, dtype=np.float32, shapes=SHAPES):
    rng = np.random.default_rng(0)
    found = []
    for shape in shapes:
        p = Parameter(rng.normal(size=shape), dtype=dtype)
        p.grad = md.tensor(scale * rng.normal(size=shape), dtype=dtype)
        found.append(p)
    return found


def flat(ps):
    return np.concatenate([p.grad.numpy().ravel().astype(np.float64) for p in ps])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_value(dtype):
    ps = params(dtype=dtype)
    before, arrays = flat(ps), [p.grad.data for p in ps]
    assert optim.clip_grad_value(ps, 0.5) == pytest.approx(np.abs(before).max())
    assert np.array_equal(flat(ps), np.clip(before, -0.5, 0.5))
    assert all(p.grad.data is a and a.dtype == dtype for p, a in zip(ps, arrays, strict=True))


@pytest.mark.parametrize(
    ("clip", "expected"),
    [
        (lambda p: optim.clip_grad_value(p, 1.5), [1.5, -1.5]),
        (lambda p: optim.clip_grad_norm(p, 1.0), [0.6, -0.8]),
        (lambda p: optim.clip_grad_adaptive(p, 0.1, eps=1.0), [0.06, -0.08]),
    ],
    ids=["value", "norm", "adaptive"],
)
def test_gradients_of_whole_numbers_become_fractions(clip, expected):
    p = Parameter([0.0, 0.0])
    p.grad = md.tensor([3, -4])
    clip([p])
    assert p.grad.dtype == np.float32
    np.testing.assert_allclose(p.grad.numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_norm(dtype):
    ps = params(dtype=dtype)
    before, arrays = flat(ps), [p.grad.data for p in ps]
    norm = np.linalg.norm(before)
    assert optim.clip_grad_norm(ps, 2.0) == pytest.approx(norm, rel=1e-6)
    np.testing.assert_allclose(flat(ps), before * 2 / norm, rtol=1e-6)
    assert np.linalg.norm(flat(ps)) == pytest.approx(2, rel=1e-6)
    assert all(p.grad.data is a and a.dtype == dtype for p, a in zip(ps, arrays, strict=True))


def test_norms_far_below_any_float32():
    p = Parameter(np.ones(4), np.float64)
    p.grad = md.tensor(np.full(4, 3e-200), dtype="float64")
    assert optim.clip_grad_norm([p], 1.0) == pytest.approx(6e-200, rel=1e-9, abs=0)


def test_a_norm_that_is_known_is_not_measured_again():
    ps = params()
    ps[1].grad = None
    before = [p.grad.numpy().copy() for p in ps if p.grad is not None]
    assert optim.clip_grad_norm(ps, 2.0, norm=8.0) == 8.0
    for p, g in zip([p for p in ps if p.grad is not None], before, strict=True):
        np.testing.assert_allclose(p.grad.numpy(), g / 4, rtol=1e-6)


def test_small_gradients_stay_bit_for_bit():
    for clip in (optim.clip_grad_value, optim.clip_grad_norm, optim.clip_grad_adaptive):
        ps = params()
        before = flat(ps)
        assert 0 < clip(ps, 1e6) < 1e6
        assert np.array_equal(flat(ps), before)
        assert clip(ps, float("inf")) > 0


@pytest.mark.parametrize("scale", [1e-44, 1e-30, 1e-20, 1e25, 1e37])
def test_norms_survive_where_squares_do_not(scale):
    """In float32 a square overflows above 1.8e19 and vanishes below 1e-23."""
    ps = params(scale)
    before = flat(ps)
    norm = np.linalg.norm(before)
    assert optim.clip_grad_norm(ps, norm / 3) == pytest.approx(norm, rel=1e-6)
    if scale > 1e-40:
        np.testing.assert_allclose(flat(ps), before / 3, rtol=1e-5)


def test_a_huge_norm_comes_down_to_a_tiny_one():
    ps = params(1e37)
    before = flat(ps)
    optim.clip_grad_norm(ps, 1e-6)
    np.testing.assert_allclose(flat(ps), before * (1e-6 / np.linalg.norm(before)), rtol=1e-5)
    ps = params(1e150, np.float64)
    assert optim.clip_grad_norm(ps, 1.0) == pytest.approx(1e150 * 1e-37 * np.linalg.norm(before))
    assert np.linalg.norm(flat(ps)) == pytest.approx(1)


def units(a):
    """The norms of the units of one array, shaped to divide it."""
    if a.ndim < 2:
        return np.linalg.norm(a)
    rows = np.linalg.norm(a.reshape(len(a), -1), axis=1)
    return rows.reshape(-1, *[1] * (a.ndim - 1))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_adaptive(dtype):
    ps = params(dtype=dtype)
    ps[1].data[:] = 0  # as biases begin: eps stands in for their norm
    before, arrays = [p.grad.numpy().copy() for p in ps], [p.grad.data for p in ps]
    limits = [np.maximum(units(p.numpy()), 1e-3) for p in ps]
    ratios = [units(g) / w for g, w in zip(before, limits, strict=True)]
    largest = max(float(np.max(r)) for r in ratios)
    assert optim.clip_grad_adaptive(ps, 0.8) == pytest.approx(largest, rel=1e-6)
    clipped = 0
    for p, g, r, a in zip(ps, before, ratios, arrays, strict=True):
        np.testing.assert_allclose(p.grad.numpy(), g * np.minimum(1, 0.8 / r), rtol=1e-6)
        assert p.grad.data is a and a.dtype == dtype
        clipped += (r > 0.8).sum()
    assert 0 < clipped < sum(r.size for r in ratios)


def test_adaptive_takes_units_apart():
    p = Parameter(np.ones((2, 4)))
    p.grad = md.tensor([[100.0, 0, 0, 0], [0.01, 0, 0, 0]])
    assert optim.clip_grad_adaptive([p], 0.1) == pytest.approx(50)
    np.testing.assert_allclose(p.grad.numpy(), [[0.2, 0, 0, 0], [0.01, 0, 0, 0]], rtol=1e-6)


def test_adaptive_neither_overflows_nor_divides_by_zero():
    ps = params(1e37)
    assert np.isfinite(optim.clip_grad_adaptive(ps, 0.01))
    assert np.isfinite(flat(ps)).all() and np.abs(flat(ps)).max() < 1
    p = Parameter(np.zeros((2, 2)))
    p.grad = md.tensor(np.zeros((2, 2)))
    assert optim.clip_grad_adaptive([p], 0.01) == 0
    assert (p.grad.numpy() == 0).all()


def test_norms_of_tiny_gradients_keep_their_digits():
    """The square of 3e-200 is 0 in float64."""
    p = Parameter(np.ones(2), dtype=np.float64)
    p.grad = md.tensor([3e-200, 4e-200], dtype="float64")
    assert optim.clip_grad_norm([p], 1.0) == pytest.approx(5e-200)
    assert optim.clip_grad_adaptive([p], 1.0) == pytest.approx(5e-200 / np.sqrt(2))


CLIPS = ["clip_grad_value", "clip_grad_norm", "clip_grad_adaptive"]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", CLIPS)
def test_gradients_that_are_not_finite_are_named_and_left(name, bad):
    ps = params()
    ps[3].grad.data[0, 1, 0, 2] = bad
    ps.insert(0, Parameter([1.0]))
    before = flat(ps[1:])
    with pytest.raises(GradientError, match=rf"{name}: .*NaN or Inf.* \{{4: \(4, 2, 3, 3\)\}}"):
        getattr(optim, name)(ps, 1.0)
    assert np.array_equal(flat(ps[1:]), before, equal_nan=True)


@pytest.mark.parametrize("limit", [0, -1.0, float("nan"), "1", None])
@pytest.mark.parametrize("name", CLIPS)
def test_thresholds_are_positive(name, limit):
    ps = params()
    before = flat(ps)
    with pytest.raises(ConfigError, match=f"{name}: expected (limit|max_norm|ratio) > 0, got"):
        getattr(optim, name)(ps, limit)
    assert np.array_equal(flat(ps), before)


@pytest.mark.parametrize("name", CLIPS)
def test_nothing_to_clip(name):
    clip = getattr(optim, name)
    assert clip([], 1.0) == 0 and clip([Parameter([1.0])], 1.0) == 0
    empty = Parameter(np.zeros((0, 3)))
    empty.grad = md.tensor(np.zeros((0, 3)))
    assert clip([empty], 1.0) == 0
    assert type(clip(iter(params()), 1.0)) is float


def test_norm_is_pytorchs():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: nothing to compare with")
    ps = params(dtype=np.float64)
    theirs = [torch.nn.Parameter(torch.tensor(p.numpy())) for p in ps]
    for p, t in zip(ps, theirs, strict=True):
        t.grad = torch.tensor(p.grad.numpy())
    norm = torch.nn.utils.clip_grad_norm_(theirs, 1.5)
    assert optim.clip_grad_norm(ps, 1.5) == pytest.approx(norm.item(), rel=1e-12)
    for p, t in zip(ps, theirs, strict=True):
        np.testing.assert_allclose(p.grad.numpy(), t.grad.numpy(), rtol=1e-6)


@pytest.mark.host
def test_a_norm_at_the_limit_is_not_touched():
    p = md.nn.Parameter([3.0, 4.0])
    p.grad = md.tensor([3.0, 4.0])
    assert md.optim.clip_grad_norm([p], 5.0) == 5.0
    assert p.grad.version == 0 and p.grad.numpy().tolist() == [3.0, 4.0]
