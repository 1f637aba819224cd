"""Initializers: their moments and bounds, and the ways to name them."""

import functools
import math

import numpy as np
import pytest

import minidl as md
from minidl import nn
from minidl.errors import ConfigError, ShapeError
from minidl.nn import init

DENSE, KERNELS = (300, 200), (64, 32, 3, 5)
FANS = {DENSE: (200, 300), KERNELS: (480, 960)}
VARIANCE = {
    "xavier_normal": lambda fan_in, fan_out: 2 / (fan_in + fan_out),
    "xavier_uniform": lambda fan_in, fan_out: 2 / (fan_in + fan_out),
    "he_normal": lambda fan_in, fan_out: 2 / fan_in,
    "he_uniform": lambda fan_in, fan_out: 2 / fan_in,
    "lecun_normal": lambda fan_in, fan_out: 1 / fan_in,
}


@pytest.fixture(autouse=True)
def seeded():
    md.manual_seed(0)


@pytest.mark.parametrize("shape", FANS)
@pytest.mark.parametrize("name", VARIANCE)
def test_scaled_initializers_have_the_variance_of_their_fans(name, shape):
    w = getattr(init, name)(shape)
    variance = VARIANCE[name](*FANS[shape])
    n = w.size
    assert w.shape == shape and w.dtype == np.float32
    assert abs(w.mean()) < 5 * math.sqrt(variance / n)
    assert w.var() == pytest.approx(variance, rel=5 * math.sqrt(2 / n))  # 5 σ for a normal
    if name.endswith("uniform"):
        a = math.sqrt(3 * variance)
        assert 0.999 * a < np.abs(w).max() <= a * (1 + 1e-6)
    else:
        assert np.abs(w).max() > 3.5 * math.sqrt(variance)
        assert (np.abs(w) < math.sqrt(variance)).mean() == pytest.approx(0.6827, abs=0.01)


@pytest.mark.parametrize("name", VARIANCE)
def test_gain_multiplies(name):
    md.manual_seed(3)
    one = getattr(init, name)((20, 10), gain=1.0)
    md.manual_seed(3)
    assert np.allclose(getattr(init, name)((20, 10), gain=2.5), 2.5 * one, rtol=1e-6)


def test_fans():
    assert init.fans((10, 784)) == (784, 10)
    assert init.fans((32, 3, 5, 7)) == (105, 1120)
    for shape in ((), (4,)):
        with pytest.raises(ShapeError, match=r"expected a shape \(out, in, ...\)"):
            init.he_normal(shape)


@pytest.mark.parametrize("shape", [(30, 12), (12, 30), (16, 16), (8, 3, 3, 3), (40, 3, 3, 3)])
def test_orthogonal_keeps_lengths(shape):
    w = init.orthogonal(shape, gain=3.0).reshape(shape[0], -1)
    assert np.allclose(np.linalg.svd(w, compute_uv=False), 3, rtol=1e-5)


def test_orthogonal_is_the_factor_of_a_normal_matrix_whose_triangle_is_positive():
    """The one QR decomposition with that sign makes Q uniform over all rotations."""
    for seed in range(5):
        md.manual_seed(seed)
        drawn = md.rng.generator().normal(size=(5, 5))
        md.manual_seed(seed)
        r = init.orthogonal((5, 5)).T @ drawn
        np.testing.assert_allclose(np.tril(r, -1), 0, atol=1e-6)
        assert (np.diag(r) > 0).all()


def test_orthogonal_prefers_no_sign():
    diagonals = np.concatenate([np.diag(init.orthogonal((4, 4))) for _ in range(500)])
    assert abs((diagonals > 0).mean() - 0.5) < 5 * 0.5 / math.sqrt(2000)


def test_distributions_with_parameters():
    assert init.normal((400, 400), std=0.3).std() == pytest.approx(0.3, rel=0.02)
    assert init.normal((400, 400)).std() == pytest.approx(0.01, rel=0.02)
    assert np.linalg.norm(init.orthogonal((2, 2)), 2) == pytest.approx(1, rel=1e-6)
    u = init.uniform((400, 400), low=-2.0, high=1.0)
    assert -2 <= u.min() < -1.99 and 0.99 < u.max() <= 1
    assert u.mean() == pytest.approx(-0.5, abs=0.02)
    u = init.uniform((100, 100))
    assert u.min() < 0.01 and 0.99 < u.max() < 1
    assert u.min() >= 0 and u.max() <= 1
    assert (init.constant((2, 3), 0.5) == 0.5).all()
    assert (init.constant((2, 3)) == 0).all() and (init.zeros((2, 3)) == 0).all()
    assert init.constant((2,), 1).dtype == init.zeros((2,)).dtype == np.float32


@pytest.mark.parametrize(
    "made",
    [init.normal(0.3), init.normal(std=0.3), functools.partial(init.normal, std=0.3)],
    ids=["positional", "named", "partial"],
)
def test_parameters_alone_make_an_initializer(made):
    md.manual_seed(5)
    w = made((4, 3))
    md.manual_seed(5)
    assert np.array_equal(w, init.normal((4, 3), std=0.3))
    assert np.array_equal(init.uniform(2.0, 3.0)([5]) >= 2, [True] * 5)


@pytest.mark.parametrize(
    "name", [*VARIANCE, "orthogonal", "normal", "uniform", "zeros", "constant"]
)
def test_layers_take_names_and_functions(name):
    md.manual_seed(7)
    by_name = nn.Dense(6, 5, init=name).weight.numpy()
    md.manual_seed(7)
    by_function = nn.Dense(6, 5, init=getattr(init, name)).weight.numpy()
    md.manual_seed(7)
    assert np.array_equal(by_name, by_function)
    assert np.array_equal(by_name, getattr(init, name)((5, 6)))
    assert getattr(init, name).__doc__


def test_layers_take_any_function_of_a_shape():
    for made in (np.ones, lambda shape: md.tensor(np.ones(shape)), lambda s: np.ones(s).tolist()):
        layer = nn.Conv2d(1, 2, 3, init=made)
        assert layer.weight.dtype == np.float32
        assert (layer.weight.numpy() == 1).all()


def test_biases_start_at_zero():
    assert (nn.Dense(3, 2, init="uniform").bias.numpy() == 0).all()
    assert (nn.Conv2d(3, 2, 3, init="uniform").bias.numpy() == 0).all()


def test_unknown_initializers_list_the_known():
    with pytest.raises(ConfigError, match=r"Dense: expected init .* one of .*he_normal.*'he'"):
        nn.Dense(3, 2, init="he")
    with pytest.raises(ConfigError, match=r"Conv2d: expected init .*got 3"):
        nn.Conv2d(3, 2, 3, init=3)
    with pytest.raises(
        ShapeError, match=r"Dense: expected init to give shape \(2, 3\), got \(3, 2\)"
    ):
        nn.Dense(3, 2, init=lambda shape: np.zeros(shape[::-1]))


def test_the_seed_decides_the_weights():
    def drawn(seed):
        md.manual_seed(seed)
        return [init.he_normal((3, 4)), init.xavier_uniform((3, 4)), init.orthogonal((3, 4))]

    assert all(np.array_equal(a, b) for a, b in zip(drawn(1), drawn(1), strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(drawn(1), drawn(2), strict=True))


def test_groups_and_transposition_keep_the_fans():
    """Variance 2/fan_in, fan_in the number of products that an output sums."""
    conv = nn.Conv2d(64, 128, 3, groups=4).weight.numpy()
    assert conv.var() == pytest.approx(2 / (16 * 9), rel=0.05)
    back = nn.ConvTranspose2d(64, 128, 3, groups=4).weight.numpy()
    assert back.shape == (64, 32, 3, 3)
    assert back.var() == pytest.approx(2 / (16 * 9), rel=0.05)


def test_a_transposed_convolution_draws_by_output():
    """Every output channel gets the row that the initializer drew for it."""

    def numbered(shape):
        out = np.arange(shape[0], dtype=float).reshape(-1, 1, 1, 1)
        return np.broadcast_to(100 * out + np.arange(shape[1]).reshape(1, -1, 1, 1), shape)

    layer = nn.ConvTranspose2d(6, 4, 1, groups=2, init=numbered)
    x = np.zeros((1, 6, 1, 1), np.float32)
    for channel in range(6):
        x[:] = 0
        x[0, channel] = 1
        group, within = divmod(channel, 3)
        expected = np.zeros(4)
        expected[2 * group : 2 * group + 2] = [200 * group + within, 200 * group + 100 + within]
        assert layer(x).numpy().ravel().tolist() == expected.tolist()


@pytest.mark.parametrize("name", ["he_normal", "he_uniform"])
def test_he_keeps_the_signal_through_relus(name):
    x = np.random.default_rng(0).normal(size=(64, 128)).astype(np.float32)
    ratios = []
    for seed in range(10):
        md.manual_seed(seed)
        parts = (m for _ in range(6) for m in (nn.Dense(128, 128, init=name), nn.ReLU()))
        ratios.append((nn.Sequential(*parts)(x).numpy() ** 2).mean() / (x**2).mean())
    assert np.mean(ratios) == pytest.approx(1, abs=0.4)  # variance 1/fan_in would give 1/64


def test_lecun_and_selu_keep_mean_and_variance():
    x = np.random.default_rng(0).normal(size=(128, 256)).astype(np.float32)
    parts = (m for _ in range(12) for m in (nn.Dense(256, 256, init="lecun_normal"), nn.SELU()))
    y = nn.Sequential(*parts)(x).numpy()
    assert abs(y.mean()) < 0.1 and 0.8 < y.var() < 1.2
