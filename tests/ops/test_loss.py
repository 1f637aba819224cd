"""Conventions, numerics, defaults and errors of the losses."""

import numpy as np
import pytest

import minidl as md
from minidl import ops
from minidl.errors import ConfigError, DataError, DTypeError, GradientError, ShapeError
from minidl.testing import gradcheck
from tests import device


def gradient(f, x):
    leaf = md.tensor(x, dtype="float64", requires_grad=True)
    f(leaf).backward()
    return leaf.grad.numpy().tolist()


def test_kinks():
    assert gradient(lambda p: ops.l1_loss(p, [1.0, 1.0]), [1.0, 3.0]) == [0.0, 0.5]
    assert gradient(lambda p: ops.huber_loss(p, [0.0] * 4), [0.0, 1.0, -1.0, 5.0]) == [
        *(0.0, 0.25, -0.25, 0.25),
    ]


def test_huber_is_quadratic_up_to_delta_and_linear_beyond():
    zero = np.zeros(1)
    assert ops.huber_loss([0.5], zero).item() == 0.125
    assert ops.huber_loss([3.0], zero).item() == 2.5
    assert ops.huber_loss([3.0], zero, 2.0).item() == 4.0
    assert ops.huber_loss([3.0], zero, delta=4.0).item() == 4.5


def test_cross_entropy_of_equal_logits_is_the_logarithm_of_their_number():
    assert ops.cross_entropy(np.zeros((2, 8)), [0, 7]).item() == pytest.approx(np.log(8))
    assert gradient(lambda x: ops.cross_entropy(x, [1, 0]), [[0.0, 0.0], [0.0, 0.0]]) == [
        [0.25, -0.25],
        [-0.25, 0.25],
    ]


def test_losses_of_large_logits_are_finite():
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        assert ops.cross_entropy(np.array([[1000.0, 0.0]]), [1]).item() == 1000.0
        assert ops.cross_entropy(np.array([[1000.0, 0.0]]), [0]).item() == 0.0
        assert ops.binary_cross_entropy(np.array([1000.0]), [1.0]).item() == 0.0
        assert ops.binary_cross_entropy(np.array([-1000.0]), [1.0]).item() == 1000.0


def test_labels_of_any_integer_type():
    x = np.array([[0.0, 1.0], [2.0, 0.0]])
    expected = ops.cross_entropy(x, [0, 1]).item()
    for labels in (np.array([0, 1], np.uint8), md.tensor([0, 1]), np.array([0, 1], np.int16)):
        assert ops.cross_entropy(x, labels).item() == expected


X = np.zeros((2, 3))


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (
            lambda: ops.cross_entropy(X[0], [0]),
            ShapeError,
            r"cross_entropy: .* got \(3,\) and \(1,\)",
        ),
        (lambda: ops.cross_entropy(X, [0]), ShapeError, r"cross_entropy: .* \(2, 3\) and \(1,\)"),
        (lambda: ops.cross_entropy(X, [[0], [1]]), ShapeError, "cross_entropy: expected logits"),
        (lambda: ops.cross_entropy(X[:0], []), ShapeError, "cross_entropy: .* N, K >= 1"),
        (lambda: ops.cross_entropy(X, [0.0, 1.0]), DTypeError, "integer labels, got dtype float32"),
        (lambda: ops.cross_entropy(X, [True, False]), DTypeError, "integer labels, got dtype bool"),
        (
            lambda: ops.mse_loss(X, X[0]),
            ShapeError,
            r"mse_loss: expected equal shapes, got \(2, 3\)",
        ),
        (
            lambda: ops.mse_loss(X, X[:, :2]),
            ShapeError,
            r"mse_loss: expected shapes that broadcast",
        ),
        (lambda: ops.l1_loss(X, X[:1]), ShapeError, "l1_loss: expected equal shapes"),
        (lambda: ops.huber_loss(X, X[0]), ShapeError, "huber_loss: expected equal shapes"),
        (lambda: ops.huber_loss(X, X, 0.0), ConfigError, "huber_loss: expected delta > 0, got 0"),
        (lambda: ops.huber_loss(X, X, float("nan")), ConfigError, "huber_loss: expected delta > 0"),
        (
            lambda: ops.binary_cross_entropy(X, X[0]),
            ShapeError,
            "binary_cross_entropy: expected eq",
        ),
    ],
)
def test_errors_name_the_call(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_labels_that_are_no_class():
    for labels, words in (
        ([0, 3], r"in 0\.\.2 \(logits \(2, 3\)\), got 3 at position 1; .*one output per class"),
        ([-1, 0], r"got -1 at position 0"),
    ):
        with pytest.raises(DataError, match=words):
            ops.cross_entropy(md.Tensor(X), md.Tensor(np.array(labels)))


def test_on_a_gpu_a_label_that_is_no_class_makes_the_loss_nan():
    if device.NAME == "cpu":
        pytest.skip("on the CPU it is an error")
    for labels in ([0, 3], [-1, 0]):
        assert np.isnan(ops.cross_entropy(X, labels).item())


def test_labels_of_one_byte_and_more_classes_than_it_holds():
    x = np.random.default_rng(0).normal(size=(2, 300))
    labels = np.array([0, 255], np.uint8)
    right = ops.cross_entropy(x, labels.astype(np.int64)).item()
    assert ops.cross_entropy(x, labels).item() == right


def test_huber_is_a_parabola_up_to_delta_and_delta_belongs_to_it():
    slope = md.grad(md.grad(lambda x: md.ops.huber_loss(x, np.zeros(()), 2.0)))
    for x, curvature in ((1.9, 1.0), (2.0, 1.0), (-2.0, 1.0), (2.1, 0.0)):
        assert slope(np.array(x)).item() == curvature


def test_the_gradient_of_a_sure_network_keeps_its_digits():
    logits = np.array([[12.0, 1.0, -2.0], [-3.0, 0.5, 14.0]])
    labels = np.array([0, 2])
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    p[[0, 1], labels] = [-(p[0, 1] + p[0, 2]), -(p[1, 0] + p[1, 1])]
    x = md.tensor(logits, requires_grad=True)
    ops.cross_entropy(x, labels).backward()
    assert x.grad.dtype == np.float32
    np.testing.assert_allclose(x.grad.numpy(), p / 2, rtol=1e-5)


@pytest.mark.parametrize("weight", [None, [0.5, 2.0, 1.0], [0.0, 1.0, 3.0]])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("ignored", [None, -100, 1])
def test_cross_entropy_with_weights_smoothing_and_an_ignored_label(weight, smoothing, ignored):
    rng = np.random.default_rng(3)
    z, labels = rng.normal(size=(8, 3)), np.array([0, 1, 2, 2, 1, 0, 2, 2])
    if ignored == -100:
        labels[[1, 4]] = -100
    options = {"weight": weight, "label_smoothing": smoothing, "ignore_index": ignored}
    w, total, count = np.ones(3) if weight is None else np.array(weight), 0.0, 0.0
    for row, label in zip(z, labels, strict=True):  # the definition, one example at a time
        if label != ignored:
            share = smoothing / 3 + (1 - smoothing) * (np.arange(3) == label)
            total -= (w * share * (row - np.log(np.exp(row).sum()))).sum()
            count += w[label]

    def loss(t):
        return ops.cross_entropy(t, labels, **options)

    assert loss(z).item() == pytest.approx(total / count, rel=1e-12)
    gradcheck(loss, z, order=2)
    assert loss(md.tensor(z, dtype="float32")).dtype == np.float32


@pytest.mark.host
def test_cross_entropy_refuses_options_that_do_not_fit():
    z, labels = np.zeros((2, 3)), [0, 1]
    for options, words in (
        ({"weight": [1.0, 2.0]}, "expected weight as 3 finite numbers >= 0"),
        ({"weight": [1.0, -2.0, 1.0]}, "expected weight as 3 finite numbers >= 0"),
        ({"label_smoothing": 1.5}, "expected label_smoothing in"),
        ({"ignore_index": 0, "weight": [1.0, 0.0, 1.0]}, "expected a label that counts"),
    ):
        with pytest.raises(md.errors.MinidlError, match=f"cross_entropy: {words}"):
            ops.cross_entropy(z, labels, **options)
    with pytest.raises(md.errors.DataError, match=r"expected labels in 0\.\.2"):
        ops.cross_entropy(z, [0, -1], ignore_index=-100)
    with pytest.raises(md.errors.ShapeError, match=r"cross_entropy: expected logits \(N, K\)"):
        ops.cross_entropy(np.zeros(3), [0, 1, 2], label_smoothing=0.1)


@pytest.mark.host
def test_losses_keep_their_bounds_and_digits_at_the_edges():
    x = md.tensor([20.0, -20.0, 88.0, -1e30, 1e30], requires_grad=True)
    loss = ops.binary_cross_entropy(x, [1.0, 0.0, 1.0, 0.0, 1.0])
    loss.backward()
    np.testing.assert_allclose(x.grad.numpy()[:2] * 5, [-2.0611537e-9, 2.0611537e-9], rtol=1e-6)
    assert np.isfinite(x.grad.numpy()).all() and 0 < loss.item() < 1e-8
    for target in ([1.5], [-0.1], [np.nan]):
        with pytest.raises(md.errors.DataError, match=r"expected targets in \[0, 1\]"):
            ops.binary_cross_entropy([0.0], target)
    error = md.tensor([np.inf, -np.inf, 1e38, 0.5], requires_grad=True)
    with np.errstate(all="ignore"):
        ops.huber_loss(error, np.zeros(4)).backward()
    np.testing.assert_array_equal(error.grad.numpy(), [0.25, -0.25, 0.25, 0.125])


@pytest.mark.parametrize("options", [{}, {"ignore_index": 3}, {"label_smoothing": 0.5}])
def test_a_loss_of_float16_over_many_examples(options):
    x = md.tensor(np.zeros((70_000, 4)), dtype="float16", requires_grad=True)
    loss = ops.cross_entropy(x, np.zeros(70_000, int), **options)
    loss.backward()
    share = 0.25 - (1 - options.get("label_smoothing", 0) * 0.75)
    assert loss.dtype == np.float16 and loss.item() == np.float16(np.log(4))
    np.testing.assert_allclose(x.grad.numpy()[0, 0], share / 70_000, atol=1e-7)


def test_class_weights_may_be_small():
    logits, labels = np.array([[2.0, -1.0, 0.5], [0.0, 1.0, 0.0]]), np.array([0, 1])
    weight = np.array([0.3, 0.1, 0.2])
    log_p = ops.log_softmax(logits).numpy()
    wanted = -(0.3 * log_p[0, 0] + 0.1 * log_p[1, 1]) / 0.4
    found = ops.cross_entropy(logits, labels, weight=weight).item()
    assert found == pytest.approx(wanted, rel=1e-6)


def test_class_weights_that_need_a_gradient_are_refused():
    weight = md.tensor([1.0, 2.0, 3.0], requires_grad=True)
    with pytest.raises(GradientError, match="expected weight without a gradient"):
        ops.cross_entropy(np.zeros((2, 3)), [0, 1], weight=weight)


@pytest.mark.parametrize("scale", [1e-300, 1e-46, 1.0, 2e38, 1e300])
def test_only_the_ratios_of_class_weights_count(scale):
    x, labels = md.tensor([[1.0, 2.0], [3.0, 4.5]]), [0, 1]
    plain = ops.cross_entropy(x, labels, weight=np.array([1.0, 3.0])).item()
    found = ops.cross_entropy(x, labels, weight=scale * np.array([1.0, 3.0])).item()
    assert found == pytest.approx(plain, rel=1e-6)


@pytest.mark.host
def test_weights_that_are_not_finite_and_labels_that_are_no_ints_are_refused():
    x, labels = md.tensor([[1.0, 2.0], [3.0, 4.0]]), [0, 1]
    for bad in (np.inf, np.nan):
        with pytest.raises(ShapeError, match="expected weight as 2 finite numbers"):
            ops.cross_entropy(x, labels, weight=[1.0, bad])
    for bad in ("a", 0.5):
        with pytest.raises(ConfigError, match="cross_entropy: expected ignore_index an int"):
            ops.cross_entropy(x, labels, ignore_index=bad)


def test_the_weight_of_the_labels_may_be_small_beside_another():
    found = ops.cross_entropy(np.zeros((1, 2)), [0], weight=[1.0, 3.0]).item()
    assert found == pytest.approx(np.log(2))


def test_a_class_that_is_impossible_and_not_meant_costs_nothing():
    logits = np.array([[0.0, -np.inf]])
    assert ops.cross_entropy(logits, [0], weight=[1.0, 1.0]).item() == 0


def test_labels_that_change_later_change_no_gradient():
    """Of a gradient that is recorded, too: it is computed from the labels, not read."""
    labels = np.array([0, 1])
    x = md.tensor([[0.0, 1.0], [2.0, 0.5]], requires_grad=True)
    loss = ops.cross_entropy(x, labels)
    labels[:] = 1 - labels
    loss.backward(create_graph=True)
    right = ops.softmax(x, 1).numpy().copy()
    right[[0, 1], [0, 1]] -= 1
    np.testing.assert_allclose(x.grad.numpy(), right / 2, rtol=1e-6)
