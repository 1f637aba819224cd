"""gradcheck itself: what it accepts, reports, and says when something is wrong."""

import re

import numpy as np
import pytest

import minidl as md
from minidl import ops
from minidl.errors import ConfigError, GradientError
from minidl.graph import record
from minidl.testing import Report, gradcheck

X = np.array([[0.3, -0.7, 1.1], [0.2, 0.5, -0.4]])
ALL = ("projection", "forward-mode", "dtype", "layout", "graph")


def test_the_report_of_a_right_gradient():
    report = gradcheck(ops.tanh, X, order=2, directions=4, check=ALL)
    assert isinstance(report, Report)
    assert (report.name, report.order, report.checks, report.kinks) == ("tanh", 2, ALL, [])
    assert len(report.errors) == 8
    assert 0 <= report.worst == max(report.errors) < 1e-8 < report.bound == 1e-7
    assert str(report).startswith("gradcheck of tanh: order 2, projection, forward-mode, dtype")


def test_the_defaults():
    report = gradcheck(ops.tanh, X)
    assert (report.order, report.checks, len(report.errors)) == (1, ("projection",), 3)
    assert gradcheck(ops.tanh, X).errors == report.errors
    assert gradcheck(ops.tanh, X, seed=1).errors != report.errors


def test_inputs_are_copied_to_float64():
    x = md.tensor(X, requires_grad=True)
    before = x.numpy().copy()
    seen = []
    gradcheck(lambda t: seen.append(t.dtype) or ops.sin(t), x)
    assert set(seen) == {np.dtype("float64")}
    assert x.grad is None
    np.testing.assert_array_equal(x.numpy(), before)


def test_integers_and_bools_are_constants():
    gradcheck(ops.cross_entropy, X, np.array([2, 0]))
    gradcheck(ops.where, X > 0, X, X**2, order=2)
    with pytest.raises(GradientError, match="expected a float input to differentiate by, got none"):
        gradcheck(ops.abs, np.array([1, 2]))


@pytest.mark.parametrize("shape", [(), (1,), (0,), (2, 0), (1, 1)])
def test_every_shape(shape):
    gradcheck(ops.exp, np.full(shape, 0.3), order=2, check=ALL)
    gradcheck(lambda x: ops.sum(x * x), np.full(shape, 0.3), order=2, check=ALL)


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1.0, 1e3, 1e6])
def test_inputs_of_any_size(scale):
    x = scale * np.array([0.4, 1.0, 2.7])
    for op in (ops.log, ops.sqrt, ops.square, ops.reciprocal, ops.softmax, ops.norm, ops.arctan):
        gradcheck(op, x, order=2)


def test_a_function_that_ignores_an_input():
    gradcheck(lambda a, b: ops.sin(a), X, X, order=2, check=ALL)
    gradcheck(lambda a: md.as_tensor(np.ones(2)), X, order=2)


# Kinks


def test_a_direction_at_a_kink_is_checked_beside_it():
    report = gradcheck(ops.relu, [0.0, 1.0, -1.0])
    assert len(report.kinks) == 3
    assert len(report.errors) == 3
    assert report.worst < 1e-7
    assert str(report).endswith("3 directions at a kink")
    for kink in report.kinks:
        assert abs(kink.right - kink.left) > 1e-3 * max(abs(kink.right), abs(kink.left))


def test_a_wrong_gradient_is_found_although_the_input_lies_on_a_kink():
    def wrong(x):
        return record(np.abs(x.data), (x, lambda g, y: g * 2.0 * np.sign(x.data)))

    with pytest.raises(GradientError, match="a wrong factor"):
        gradcheck(wrong, [0.0, 1.0, -1.0])


def test_a_kink_can_be_an_error_or_be_ignored():
    with pytest.raises(GradientError, match=r"gradcheck of relu: a kink: slope .* on one side"):
        gradcheck(ops.relu, [0.0, 1.0], kinks="raise")
    with pytest.raises(GradientError, match="wrong gradient"):
        gradcheck(ops.relu, [0.0, 1.0], kinks="ignore")
    gradcheck(ops.abs, [0.0, 1.0], kinks="ignore")  # its convention, 0, is the mean of the slopes
    gradcheck(ops.max, [1.0, 1.0], kinks="ignore")


def test_the_kink_of_a_slope_is_found_in_the_second_derivative():
    report = gradcheck(lambda x: ops.relu(x) * x, [0.0, 1.0], order=2, directions=1)
    assert [kink.order for kink in report.kinks] == [2]


def test_a_function_with_jumps_everywhere_cannot_be_checked():
    with pytest.raises(GradientError, match="nothing could be checked: 5 points nearby"):
        gradcheck(lambda x: x * md.Tensor(np.sign(np.sin(x.data * 1e9))), np.linspace(0.3, 0.9, 40))


def test_a_nearby_kink_is_no_false_alarm():
    for distance in (1e-2, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8):
        gradcheck(ops.relu, np.array([distance, -distance, 1.0]), kinks="detect")


# Errors


def test_the_message_is_enough_to_find_the_mistake():
    def tanh_with_a_flaw(x, w):
        h = x @ w
        return record(np.tanh(h.data), (h, lambda g, y: 3.0 * g * (1 - y * y)), name="my_tanh")

    with pytest.raises(GradientError) as error:
        gradcheck(tanh_with_a_flaw, X, np.eye(3)[:, :2] + 0.1)
    text = str(error.value)
    assert re.search(
        r"^gradcheck of tanh_with_a_flaw: wrong gradient \(relative error [\d.e-]+,", text
    )
    assert "its graph ends in 'my_tanh'" in text
    assert "input 0 of shape (2, 3): 6 of 6 elements are wrong" in text
    assert "input 1 of shape (3, 2): 6 of 6 elements are wrong" in text
    assert re.search(
        r"worst at \[\d, \d\]: numeric -?[\d.]+, analytic -?[\d.]+, .*numeric 3\n", text
    )
    assert "it looks like: a wrong factor (analytic = 3 × numeric everywhere)" in text
    for step in range(2, 10):
        assert f"\n  1e-{step:02d}   " in text
    assert text.splitlines()[-1].startswith("  backward")


def test_only_the_wrong_input_is_named():
    def f(a, b):
        return record(a.data * b.data, (a, lambda g, y: g * b), (b, lambda g, y: -g * a))

    with pytest.raises(GradientError) as error:
        gradcheck(f, X, X + 2.0)
    assert "input 1 of shape (2, 3)" in str(error.value)
    assert "input 0" not in str(error.value)


def test_a_large_input_is_sampled():
    x = np.linspace(-1, 1, 500)
    wrong = record
    with pytest.raises(GradientError, match=r"200 of 200 elements are wrong"):
        gradcheck(lambda t: wrong(t.data * 2.0, (t, lambda g, y: g)), x)


def test_second_order_says_so():
    def f(x):
        return record(np.exp(x.data), (x, lambda g, y: g * y.detach()))

    gradcheck(f, X)
    with pytest.raises(
        GradientError, match=r"gradcheck of f \(second derivative\): wrong gradient"
    ):
        gradcheck(f, X, order=2)


def test_a_pullback_that_raises_is_named():
    def f(x):
        def pull(g, y):
            raise IndexError("axis 7")

        return record(x.data * 1.0, (x, pull), name="broken")

    with pytest.raises(
        GradientError, match=r"backward pass of 'broken' raised IndexError\('axis 7'"
    ):
        gradcheck(f, X)


@pytest.mark.parametrize(
    ("f", "words"),
    [
        (lambda x: 3.0, "expected f to return a Tensor, got float"),
        (lambda x: x.astype("float32"), "expected a float64 result .*, got float32"),
        (lambda x: ops.log(x), r"expected finite values, got nan at \[0, 1\]"),
        (lambda x: x * np.random.default_rng().normal(), "different values for the same inputs"),
        (lambda x: ops.sqrt(ops.relu(x) * 0.0), r"the gradient of input 0 is nan at \[0, 0\]"),
    ],
)
def test_what_cannot_be_checked_is_said(f, words):
    with np.errstate(all="ignore"), pytest.raises(GradientError, match=words):
        gradcheck(f, X)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"order": 3}, "expected order 1 or 2, got 3"),
        ({"directions": 0}, "expected directions >= 1, got 0"),
        ({"check": ("projektion",)}, r"expected check to be a tuple of .*got \('projektion',\)"),
        ({"check": ()}, "expected check to be a tuple"),
        ({"check": "projection"}, "expected check to be a tuple"),
        ({"kinks": "hide"}, "expected kinks 'detect', 'ignore' or 'raise', got 'hide'"),
    ],
)
def test_unknown_options(options, words):
    with pytest.raises(ConfigError, match=words):
        gradcheck(ops.exp, X, **options)


def test_forward_mode_must_agree_with_the_backward_pass():
    def f(x):
        # A pullback that is right for the value and not linear in g is no transpose.
        return record(np.sin(x.data), (x, lambda g, y: g.detach() * ops.cos(x)))

    gradcheck(f, X)
    with pytest.raises(GradientError, match=r"forward mode \(jvp\) gives uᵀJd = 0"):
        gradcheck(f, X, check=("forward-mode",))


def test_a_graph_recorded_under_no_grad_is_noticed():
    def f(x):
        with md.enable_grad():
            return ops.sin(x)

    gradcheck(f, X)
    with pytest.raises(GradientError, match=r"under no_grad\(\) needs a gradient"):
        gradcheck(f, X, check=("graph",))
