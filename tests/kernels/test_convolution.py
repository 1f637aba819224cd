"""Every path of the convolution is the reference's convolution, and its own adjoint."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl.kernels
from minidl.kernels import choose, portable, reference
from minidl.kernels.cpu import columns, layout, rows
from tests.device import Moved

from .cases import Case, cases, close

kernels, portable = Moved(minidl.kernels), Moved(portable)


@pytest.fixture(
    params=[
        "rows",
        "rows, some at a time",
        "rows, one at a time",
        "columns",
        "columns, small tiles",
    ]
)
def path(request, monkeypatch):
    if "at a time" in request.param:
        monkeypatch.setattr(rows, "TILE", 1 if "one" in request.param else 1000)
    if request.param == "columns, small tiles":
        monkeypatch.setattr(columns, "TILE", 100)
    return rows if "rows" in request.param else columns


def agrees(path, case):
    window, x, w, b, g, groups, _ = case
    close(
        path.conv_forward(x, w, b, window, groups), reference.conv_forward(x, w, b, window, groups)
    )
    close(
        path.conv_input_grad(g, w, window, groups), reference.conv_input_grad(g, w, window, groups)
    )
    close(
        path.conv_weight_grad(x, g, window, groups),
        reference.conv_weight_grad(x, g, window, groups),
    )


@pytest.mark.host
@given(cases())
def test_each_cpu_path_agrees_with_the_loops(path, case):
    agrees(path, case)


@pytest.mark.host
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("padding", ["same", 0, 2])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("size", [(3, 3), (2, 4)])
def test_windows_that_overlap_and_leave_pixels_over(path, stride, padding, dilation, size):
    random = np.random.default_rng(0)
    x, w = random.normal(size=(2, 2, 8, 7)), random.normal(size=(3, 2, *size))
    window = kernels.window("conv2d", (8, 7), size, stride, padding, dilation)
    g = random.normal(size=(2, 3, *window.out))
    agrees(path, Case(window, x, w, np.arange(3.0), g, 1, random))


@given(cases(max_groups=3))
@pytest.mark.parametrize("path", [portable, kernels], ids=["portable", "dispatched"])
def test_groups_too(path, case):
    agrees(path, case)


@given(cases(max_groups=2))
def test_inputs_stay_as_they_are(case):
    before = [np.copy(a) for a in (case.x, case.w, case.g)]
    kernels.conv_forward(case.x, case.w, case.b, case.window, case.groups)
    kernels.conv_input_grad(case.g, case.w, case.window, case.groups)
    kernels.conv_weight_grad(case.x, case.g, case.window, case.groups)
    for array, copy in zip((case.x, case.w, case.g), before, strict=True):
        np.testing.assert_array_equal(array, copy)


@given(cases(max_groups=2))
def test_both_gradients_are_transposes(case):
    """⟨conv(x, w), g⟩ = ⟨x, input_grad(g, w)⟩ = ⟨w, weight_grad(x, g)⟩"""
    window, groups = case.window, case.groups
    x, w, g = (a.astype(np.float64) for a in (case.x, case.w, case.g))
    y = kernels.conv_forward(x, w, None, window, groups)
    right, size = np.vdot(y, g), np.abs(y * g).sum() + 1
    dx = kernels.conv_input_grad(g, w, window, groups)
    dw = kernels.conv_weight_grad(x, g, window, groups)
    assert abs(np.vdot(x, dx) - right) <= 1e-12 * size * np.sqrt(x.size)
    assert abs(np.vdot(w, dw) - right) <= 1e-12 * size * np.sqrt(w.size)


@pytest.mark.host
@given(cases(), st.sampled_from([np.nan, np.inf, -np.inf]))
def test_one_bad_pixel_reaches_what_it_touches_and_nothing_else(path, case, bad):
    window, x, w, b, g, groups, random = case
    x, g = x.copy(), g.copy()
    x[tuple(random.integers(x.shape))] = bad
    with np.errstate(invalid="ignore"):
        agreed = (
            np.isfinite(f(x, w, b, window, groups))
            for f in (path.conv_forward, reference.conv_forward)
        )
        np.testing.assert_array_equal(*agreed)
        dw = (f(x, g, window, groups) for f in (path.conv_weight_grad, reference.conv_weight_grad))
        np.testing.assert_array_equal(*map(np.isfinite, dw))
        g[tuple(random.integers(g.shape))] = bad
        dx = (f(g, w, window, groups) for f in (path.conv_input_grad, reference.conv_input_grad))
        np.testing.assert_array_equal(*map(np.isfinite, dx))


@pytest.mark.host
@given(cases(), st.sampled_from([np.nan, np.inf, -np.inf]))
def test_a_bad_weight_or_gradient_meets_the_zeros_of_the_padding(path, case, bad):
    """0·∞ is NaN, there too: in the reference, in PyTorch, and in every fast version."""
    window, x, w, b, g, groups, random = case
    w, g = w.copy(), g.copy()
    w[tuple(random.integers(w.shape))] = bad
    g[tuple(random.integers(g.shape))] = bad
    for kind, first, second in (
        ("conv_forward", x, w),
        ("conv_input_grad", case.g, w),
        ("conv_weight_grad", x, g),
        ("conv_input_grad", g, w),
    ):
        more = (b,) if kind == "conv_forward" else ()
        with np.errstate(invalid="ignore"):
            found, wanted = (
                getattr(f, kind)(first, second, *more, window, groups) for f in (path, reference)
            )
        np.testing.assert_array_equal(np.isfinite(found), np.isfinite(wanted), err_msg=kind)


def test_infinities_raise_no_warning():
    window = kernels.window("conv2d", (4, 4), 3, 1, "same")
    x, w = np.full((2, 1, 4, 4), np.inf, "f"), np.zeros((2, 1, 3, 3), "f")
    for channels in (1, 8):
        many = np.repeat(x, channels, 1), np.repeat(w, channels, 1)
        assert np.isnan(kernels.conv_forward(*many, None, window, 1)).all()


@pytest.mark.parametrize("shape", [(0, 3, 5, 5), (0, 20, 5, 5)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_images_give_no_output_and_zero_gradient(shape, dtype):
    x, w = np.zeros(shape, dtype), np.ones((4, shape[1], 3, 3), dtype)
    window = kernels.window("conv2d", shape[2:], 3, 2, 1)
    y = kernels.conv_forward(x, w, np.ones(4, dtype), window, 1)
    assert y.shape == (0, 4, 3, 3)
    assert kernels.conv_input_grad(y, w, window, 1).shape == shape
    dw = kernels.conv_weight_grad(x, y, window, 1)
    assert dw.shape == w.shape
    assert not dw.any()


def test_other_types_take_the_portable_path():
    window = kernels.window("conv2d", (4, 4), 3)
    x, w = np.ones((1, 1, 4, 4), np.float16), np.ones((1, 1, 3, 3), np.float16)
    y = kernels.conv_forward(x, w, None, window, 1)
    assert y.dtype == np.float16
    assert (y == 9).all()
    mixed = kernels.conv_forward(x.astype(np.float32), w.astype(np.float64), None, window, 1)
    assert mixed.dtype == np.float64


def test_a_wider_bias_widens_the_output():
    window = kernels.window("conv2d", (1, 1), 1)
    one, bias = np.ones((1, 1, 1, 1), np.float32), np.array([1e-9])
    for channels in (1, 32):
        x = np.repeat(one, channels, 1)
        y = kernels.conv_forward(x, x, bias, window, 1)
        assert y.dtype == np.float64
        assert y.item() == channels + 1e-9


def test_thin_kernels_go_by_columns_and_others_by_rows():
    window = kernels.window("conv2d", (8, 8), 3)
    x = np.ones((1, 1), np.float32)
    for channels, engine in ((3, columns), (5, columns), (6, rows), (32, rows)):
        assert choose.version(choose._convolution(window, channels, 1), x) is engine


@pytest.mark.host
@given(cases(), st.integers(0, 20))
def test_rows_and_images_are_the_same_numbers(case, batch):
    x = np.repeat(case.x[:1], batch, 0) + np.arange(batch).reshape(-1, 1, 1, 1)
    for images in (x, case.x, np.ascontiguousarray(case.x)):
        rows = layout.as_rows(images)
        assert rows.flags.c_contiguous
        np.testing.assert_array_equal(layout.as_images(rows), images)
        assert layout.as_rows(layout.as_images(rows)) is not None
        assert np.shares_memory(layout.as_rows(layout.as_images(rows)), rows) or not rows.size


@pytest.mark.host
@pytest.mark.parametrize("pads", [(0, 0, 2, 0), (0, 0, 0, 2), (2, 0, 0, 0), (0, 2, 0, 0), (0,) * 4])
def test_a_bad_gradient_at_a_place_that_sees_padding_alone_is_not_lost(pads):
    """0·NaN is NaN: what stands on the padding's zeros counts, as in the loops."""
    window = kernels.Window((3, 3), (1, 1), pads=pads)
    x, g = np.ones((1, 1, 3, 3)), np.ones((1, 1, *window.out))
    assert rows._has_blind_places(window) == any(pads)
    for place in np.ndindex(window.out):
        g[0, 0][place] = np.nan
        assert np.isnan(rows.conv_weight_grad(x, g, window)).all()
        g[0, 0][place] = 1
    assert rows.conv_weight_grad(x, g, window).item() == 9
