"""Convolutions as products with a column matrix that is never stored, on the CPU's emulation."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from minidl import kernels
from minidl.errors import ShapeError
from minidl.kernels import portable, reference
from minidl.kernels.gpu import implicit, launch
from tests import standin
from tests.standin.kernels import COMPILER

from ..cases import rearranged
from . import test_launch

pytestmark = [
    pytest.mark.host,
    pytest.mark.skipif(COMPILER is None, reason="no g++ to compile the kernels with"),
]
examples = settings(max_examples=10)  # the CPU takes a GPU's threads one after the other
UNIT = {"f": 2.0**-23, "d": 2.0**-52}


@st.composite
def windows(draw, largest: int = 9) -> kernels.Window:
    """Windows that overlap or leave pixels out, images that they do not fill."""
    image = draw(st.tuples(st.integers(1, largest), st.integers(1, largest)))
    size = draw(st.sampled_from([(1, 1), (3, 3), (2, 4), (5, 1)]))
    stride = draw(st.sampled_from([(1, 1), (2, 2), (1, 3), (4, 2)]))
    padding = draw(st.sampled_from(["same", 0, 1, (3, 2)]))
    dilation = draw(st.sampled_from([(1, 1), (2, 3)]))
    try:
        return kernels.window("conv2d", image, size, stride, padding, dilation)
    except ShapeError:
        assume(False)


def close(found, exact, terms, char):
    """Equal but for the rounding of sums of so many products of normal numbers."""
    assert found.dtype.char == char
    assert found.shape == exact.shape
    assert np.abs(found.get() - exact).max() <= 8 * UNIT[char] * (1 + terms)


def to_tf32(x):
    """float32 numbers with 10 bits of mantissa, halves away from zero."""
    return ((x.view(np.uint32) + 0x1000) & ~np.uint32(0x1FFF)).view(np.float32)


@pytest.mark.parametrize(
    ("char", "wide", "tf32"),
    [
        ("f", False, False),
        ("f", True, False),
        ("f", False, True),
        ("d", False, True),
        ("d", True, False),
    ],
)
@examples
@given(
    windows(),
    st.sampled_from([1, 3, 8, 17]),
    st.sampled_from([1, 5, 33, 70]),
    st.integers(1, 3),
    st.booleans(),
    st.sampled_from([1, 400, implicit.WAVE]),
    st.integers(0, 2**32 - 1),
)
def test_any_geometry(gpu, monkeypatch, char, wide, tf32, window, c, o, n, biased, wave, seed):
    monkeypatch.setattr(launch, "LARGE", 0 if wide else 1 << 30)
    monkeypatch.setattr(implicit, "WAVE", wave)  # a weight gradient in few or many pieces
    monkeypatch.setenv("CUPY_TF32", str(int(tf32)))  # float64 stays as it is
    random = np.random.default_rng(seed)
    shapes = (n, c, *window.image), (o, c, *window.size), (o,), (n, o, *window.out)
    x, w, b, g = (rearranged(random, random.normal(size=s).astype(char)) for s in shapes)
    factors = [to_tf32(a) if tf32 and char == "f" else a for a in (x, w, g)]
    x64, w64, g64, b64 = (a.astype(np.float64) for a in (*factors, b))
    taps, places = window.size[0] * window.size[1], window.out[0] * window.out[1]

    standin.counter.clear()
    y = implicit.conv_forward(gpu(x), gpu(w), gpu(b) if biased else None, window, 1)
    right = portable.conv_forward(x64, w64, b64 if biased else None, window, 1)
    close(y, right, taps * c, char)
    dx = implicit.conv_input_grad(gpu(g), gpu(w), window, 1)
    close(dx, portable.conv_input_grad(g64, w64, window, 1), taps * o, char)
    dw = implicit.conv_weight_grad(gpu(x), gpu(g), window, 1)
    close(dw, portable.conv_weight_grad(x64, g64, window, 1), n * places, char)
    names = ["in_slices", "implicit"] * 2 + ["implicit_weight", "add_pieces"]
    assert [name for name in standin.counter.launched if name in names] == names


@pytest.mark.parametrize("tf32", [False, True])
@examples
@given(windows(5), st.sampled_from([np.nan, np.inf, -np.inf]), st.integers(0, 2**32 - 1))
def test_what_is_not_finite_reaches_what_it_touches_and_nothing_else(
    gpu, monkeypatch, tf32, window, bad, seed
):
    monkeypatch.setenv("CUPY_TF32", str(int(tf32)))
    random = np.random.default_rng(seed)
    shapes = (2, 3, *window.image), (2, 3, *window.size), (2, 2, *window.out)
    arrays = [random.integers(-1, 2, size).astype("f") for size in shapes]
    for spoilt in range(3):
        x, w, g = (a.copy() for a in arrays)
        (x, w, g)[spoilt][tuple(random.integers((x, w, g)[spoilt].shape))] = bad
        for call, first, second, more in (
            ("conv_forward", x, w, [None]),
            ("conv_input_grad", g, w, []),
            ("conv_weight_grad", x, g, []),
        ):
            found = getattr(implicit, call)(gpu(first), gpu(second), *more, window, 1)
            with np.errstate(invalid="ignore"):  # 0·∞
                right = getattr(reference, call)(first, second, *more, window, 1)
            np.testing.assert_array_equal(found.get(), right, err_msg=call)  # sums are exact


def test_many_channels_take_this_way(gpu):
    window = kernels.window("conv2d", (4, 4), 3)
    x, w, g = (gpu(np.ones(s, "f")) for s in ((2, 6, 4, 4), (5, 6, 3, 3), (2, 5, 2, 2)))
    standin.counter.clear()
    assert (kernels.conv_forward(x, w, None, window, 1).get() == 54).all()
    assert kernels.conv_input_grad(g, w, window, 1).get()[0, 0, 1, 1] == 20
    assert (kernels.conv_weight_grad(x, g, window, 1).get() == 8).all()
    ours = ["in_slices", "implicit", "in_slices", "implicit", "implicit_weight", "add_pieces"]
    assert standin.counter.launched == ours


@pytest.mark.parametrize("capability", [75, 80, 90])
@pytest.mark.parametrize("rows", [32, 64])
def test_tensor_cores_multiply_where_a_gpu_has_them(rows, capability):
    test = test_launch.test_the_source_compiles_for_every_gpu
    test("implicit", (("ROWS", rows), ("TF32", 1)), False, "f", capability)
