"""Convolution: defaults and laws that need no reference; errors of every windowed operation."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from minidl import ops
from minidl.errors import ShapeError
from tests.ops import draws as d
from tests.ops.cases import CASES

SEEDS = st.integers(0, 2**32 - 1)


def close(a, b):
    np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-11, atol=1e-11)


def test_convolution_defaults():
    x, w = np.ones((1, 2, 5, 6)), np.ones((4, 2, 3, 2))
    assert ops.conv2d(x, w).shape == (1, 4, 3, 5)
    assert ops.conv2d(x, w, padding="valid").shape == (1, 4, 3, 5)
    assert ops.conv2d(x, w, padding="same").shape == (1, 4, 5, 6)
    assert ops.conv2d(x, w, stride=2, padding="same").shape == (1, 4, 3, 3)
    assert ops.conv2d(x, w, stride=(1, 2), padding=(2, 0), dilation=(2, 1)).shape == (1, 4, 5, 3)
    assert ops.conv_transpose2d(x, np.ones((2, 4, 3, 2))).shape == (1, 4, 7, 7)
    assert ops.conv_transpose2d(x, np.ones((2, 4, 3, 2)), stride=2).shape == (1, 4, 11, 12)
    assert ops.conv_transpose2d(x, np.ones((2, 4, 3, 2)), stride=2, padding="same").shape == (
        *(1, 4, 10, 12),
    )
    for more in ((1, 0), (0, 1)):
        y = ops.conv_transpose2d(x, np.ones((2, 4, 3, 2)), stride=2, output_padding=more)
        assert y.shape == (1, 4, 11 + more[0], 12 + more[1])
    uneven = {"stride": (3, 1), "dilation": (1, 2), "padding": (2, 1), "output_padding": (2, 0)}
    y = ops.conv_transpose2d(x, np.ones((2, 4, 3, 2)), **uneven)
    assert y.shape == (1, 4, 4 * 3 - 4 + 2 + 1 + 2, 5 - 2 + 2 + 1)
    y = ops.conv_transpose2d(x, np.ones((2, 4, 3, 2)), stride=(3, 1), padding="same")
    assert y.shape == (1, 4, 15, 6)


def test_a_kernel_of_one_is_a_matrix_product():
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(2, 3, 4, 4)), rng.normal(size=(5, 3, 1, 1))
    close(ops.conv2d(x, w).numpy(), np.einsum("oc,nchw->nohw", w[..., 0, 0], x))


@given(seed=SEEDS)
def test_convolution_is_linear_in_the_image_and_in_the_kernel(seed):
    rng = np.random.default_rng(seed)
    (x, w, *_), kwargs = d.convolution(rng)
    x2, w2 = rng.normal(size=x.shape), rng.normal(size=w.shape)

    def conv(a, b):
        return ops.conv2d(a, b, **kwargs).numpy()

    close(conv(2 * x - x2, w), 2 * conv(x, w) - conv(x2, w))
    close(conv(x, 2 * w - w2), 2 * conv(x, w) - conv(x, w2))


@given(seed=SEEDS)
def test_bias_adds_a_constant_to_each_channel(seed):
    rng = np.random.default_rng(seed)
    for name in ("conv2d", "conv_transpose2d"):
        (x, w, *_), kwargs = CASES[name].draw(rng)
        y = getattr(ops, name)(x, w, **kwargs).numpy()
        b = rng.normal(size=y.shape[1])
        close(getattr(ops, name)(x, w, b, **kwargs).numpy(), y + b[:, None, None])


@given(seed=SEEDS, rows=st.integers(0, 2), columns=st.integers(0, 2))
def test_convolution_moves_with_the_image(seed, rows, columns):
    rng = np.random.default_rng(seed)
    x = np.zeros((1, 2, 9, 9))
    x[:, :, 2:6, 2:6] = rng.normal(size=(1, 2, 4, 4))
    w = rng.normal(size=(3, 2, 3, 2))
    moved = np.roll(x, (rows, columns), (2, 3))
    y = ops.conv2d(x, w, padding="same").numpy()
    close(ops.conv2d(moved, w, padding="same").numpy(), np.roll(y, (rows, columns), (2, 3)))


@given(seed=SEEDS)
def test_groups_are_blocks(seed):
    rng = np.random.default_rng(seed)
    for conv, w in (
        (ops.conv2d, rng.normal(size=(4, 3, 2, 3))),
        (ops.conv_transpose2d, rng.normal(size=(6, 2, 2, 3))),
    ):
        x = rng.normal(size=(2, 6, 4, 5))
        half = len(w) // 2
        parts = [conv(x[:, :3], w[:half]).numpy(), conv(x[:, 3:], w[half:]).numpy()]
        close(conv(x, w, groups=2).numpy(), np.concatenate(parts, 1))


@given(seed=SEEDS)
def test_dilation_is_a_stretched_kernel(seed):
    rng = np.random.default_rng(seed)
    x, w = rng.normal(size=(1, 2, 8, 8)), rng.normal(size=(2, 2, 2, 3))
    stretched = np.zeros((2, 2, 3, 7))
    stretched[:, :, ::2, ::3] = w
    for conv in (ops.conv2d, ops.conv_transpose2d):
        close(conv(x, w, dilation=(2, 3)).numpy(), conv(x, stretched).numpy())


@given(seed=SEEDS)
def test_a_stride_leaves_places_out(seed):
    rng = np.random.default_rng(seed)
    x, w = rng.normal(size=(1, 2, 7, 8)), rng.normal(size=(2, 2, 3, 2))
    every = ops.conv2d(x, w).numpy()
    close(ops.conv2d(x, w, stride=(2, 3)).numpy(), every[:, :, ::2, ::3])


@given(seed=SEEDS)
def test_padding_is_a_border_of_zeros(seed):
    rng = np.random.default_rng(seed)
    x, w = rng.normal(size=(1, 2, 4, 4)), rng.normal(size=(2, 2, 3, 3))
    framed = np.pad(x, ((0, 0), (0, 0), (2, 2), (1, 1)))
    close(ops.conv2d(x, w, padding=(2, 1)).numpy(), ops.conv2d(framed, w).numpy())


@pytest.mark.parametrize(("n", "k", "s"), [(5, 2, 1), (5, 3, 2), (6, 3, 2), (7, 4, 3), (4, 1, 3)])
def test_same_padding_puts_the_odd_zero_last(n, k, s):
    x, w = np.arange(1.0, n + 1).reshape(1, 1, 1, n), np.ones((1, 1, 1, k))
    total = max((-(-n // s) - 1) * s + k - n, 0)
    line = np.pad(x[0, 0, 0], (total // 2, total - total // 2))
    expected = [line[i : i + k].sum() for i in range(0, len(line) - k + 1, s)]
    y = ops.conv2d(x, w, stride=(1, s), padding="same")
    assert y.numpy().ravel().tolist() == expected
    assert y.shape[-1] == -(-n // s)


@given(seed=SEEDS)
@example(seed=0)
def test_transposed_convolution_is_the_transpose(seed):
    """⟨conv(x), u⟩ = ⟨x, conv_transpose(u)⟩ with the same w and arguments."""
    rng = np.random.default_rng(seed)
    (u, w, *_), kwargs = d.transposed_convolution(rng)
    more = kwargs.pop("output_padding", 0)
    x = rng.normal(size=ops.conv_transpose2d(u, w, **kwargs, output_padding=more).shape)
    if more:
        kwargs["output_padding"] = more
    back = ops.conv_transpose2d(u, w, **kwargs).numpy()
    kwargs.pop("output_padding", None)
    there = ops.conv2d(x, w, **kwargs).numpy()
    assert there.shape == u.shape
    assert np.sum(there * u) == pytest.approx(np.sum(x * back), rel=1e-11, abs=1e-11)


X, W = np.zeros((2, 3, 5, 5)), np.zeros((4, 3, 3, 3))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda: ops.conv2d(X[0], W),
            r"conv2d: expected images x .*\(N, C, H, W\), got \(3, 5, 5\)",
        ),
        (
            lambda: ops.conv2d(X, W[0]),
            r"conv2d: expected w of shape \(out, in/groups, kh, kw\), got",
        ),
        (lambda: ops.conv2d(X[:, :1], W), r"expected x with 3 channels \(w is \(4, 3, 3, 3\)"),
        (lambda: ops.conv2d(X, W[:, :1]), r"expected x with 1 channel \(w is \(4, 1, 3, 3\)"),
        (lambda: ops.conv2d(X, W, np.zeros(3)), r"conv2d: expected b of shape \(4,\), got \(3,\)"),
        (lambda: ops.conv2d(X, W[:, :1], groups=3), r"conv2d: groups=3 does not divide the 4"),
        (lambda: ops.conv2d(X, W, groups=0), "conv2d: expected groups to be an int >= 1, got 0"),
        (lambda: ops.conv2d(X, W, groups=True), "conv2d: expected groups to be an int"),
        (lambda: ops.conv2d(X, W, groups=1.0), "conv2d: expected groups to be an int"),
        (lambda: ops.conv2d(X, W, stride=0), "conv2d: expected stride .* whole numbers above 0"),
        (lambda: ops.conv2d(X, W, stride=(1, 2, 3)), "conv2d: expected stride"),
        (lambda: ops.conv2d(X, W, padding=-1), "conv2d: expected padding .* 0 or more"),
        (lambda: ops.conv2d(X, W, padding="full"), 'conv2d: expected padding .*"same" or "valid"'),
        (lambda: ops.conv2d(X, W, dilation=0), "conv2d: expected dilation"),
        (lambda: ops.conv2d(X, W, dilation=3), "conv2d: expected the window to fit"),
        (lambda: ops.conv_transpose2d(X[0], W), "conv_transpose2d: expected images x"),
        (
            lambda: ops.conv_transpose2d(X, W[0]),
            r"conv_transpose2d: expected w of shape \(in, out/groups, kh, kw\)",
        ),
        (lambda: ops.conv_transpose2d(X, W), "conv_transpose2d: expected x with 4 channels"),
        (
            lambda: ops.conv_transpose2d(X, W[:3], np.zeros(4)),
            r"conv_transpose2d: expected b of shape \(3,\), got \(4,\)",
        ),
        (lambda: ops.conv_transpose2d(X, W[:3], groups=2), "groups=2 does not divide the 3"),
        (
            lambda: ops.conv_transpose2d(X, W[:3], output_padding=1),
            r"conv_transpose2d: expected output_padding below the stride \(1, 1\)",
        ),
        (
            lambda: ops.conv_transpose2d(X, W[:3], stride=2, output_padding=(0, 2)),
            r"expected output_padding below the stride \(2, 2\), got \(0, 2\)",
        ),
        (lambda: ops.conv_transpose2d(X, W[:3], output_padding=-1), "expected output_padding .*-1"),
        (
            lambda: ops.conv_transpose2d(X, W[:3], stride=2, padding="same", output_padding=(0, 1)),
            r'conv_transpose2d: padding "same" makes .* expected output_padding 0 .* got \(0, 1\)',
        ),
        (lambda: ops.conv_transpose2d(X, W[:3], stride=0), "conv_transpose2d: expected stride"),
        (lambda: ops.conv_transpose2d(X, W[:3], padding="full"), "conv_transpose2d: expected padd"),
        (
            lambda: ops.conv_transpose2d(X, W[:3], padding=4),
            r"conv_transpose2d: expected an output of at least 1×1, got \(-1, -1\).*less padding",
        ),
        (
            lambda: ops.conv_transpose2d(X[:, :, :0], W[:3]),
            "conv_transpose2d: expected an output of at least 1×1",
        ),
        (lambda: ops.max_pool2d(X[0], 2), "max_pool2d: expected images x"),
        (lambda: ops.avg_pool2d(X[0], 2), "avg_pool2d: expected images x"),
        (lambda: ops.global_avg_pool2d(X[0]), "global_avg_pool2d: expected images x"),
        (lambda: ops.max_pool2d(X, 0), "max_pool2d: expected size"),
        (lambda: ops.max_pool2d(X, 6), "max_pool2d: expected the window to fit"),
        (lambda: ops.avg_pool2d(X, 2, stride=0), "avg_pool2d: expected stride"),
        (lambda: ops.max_pool2d(X, 2, padding=2), "max_pool2d: expected padding smaller than the"),
        (lambda: ops.avg_pool2d(X, 3, padding=(0, 3)), "avg_pool2d: expected padding smaller than"),
        (lambda: ops.max_pool2d(X, (1, 3), padding=1), "max_pool2d: expected padding smaller than"),
    ],
)
def test_errors_name_the_call(call, words):
    with pytest.raises(ShapeError, match=words):
        call()


def test_a_padding_just_smaller_than_the_window_is_fine():
    assert ops.max_pool2d(X, 2, padding=1).shape == (2, 3, 3, 3)
    assert ops.avg_pool2d(X, (1, 3), padding=(0, 2)).shape == (2, 3, 5, 3)


def test_the_output_padding_is_below_the_stride_whatever_the_dilation():
    assert ops.conv_transpose2d(X, W[:3], stride=2, output_padding=1).shape == (2, 3, 12, 12)
    with pytest.raises(ShapeError, match=r"output_padding below the stride \(1, 1\), got 1"):
        ops.conv_transpose2d(X, W[:3], dilation=2, output_padding=1)


def test_one_pixel_is_transposed_to_the_kernel():
    w = np.arange(9.0).reshape(1, 1, 3, 3)
    assert (ops.conv_transpose2d(np.full((1, 1, 1, 1), 2.0), w).numpy() == 2 * w).all()
    assert ops.conv_transpose2d(np.full((1, 1, 1, 1), 2.0), w[..., :1, :1]).shape == (1, 1, 1, 1)
