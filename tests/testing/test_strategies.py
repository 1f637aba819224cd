"""The strategies give what they promise."""

import subprocess
import sys

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import minidl as md
from minidl.testing import gradcheck, strategies
from tests.ops import references


@given(x=strategies.tensors(low=-1, high=3, dtype="float32", requires_grad=True))
def test_tensors(x):
    assert isinstance(x, md.Tensor)
    assert (x.dtype, x.requires_grad) == (np.float32, True)
    assert x.ndim <= 3
    assert np.all((x.numpy() >= -1) & (x.numpy() <= 3))


@given(x=strategies.tensors((2, 3)), z=strategies.tensors(strategies.shapes(least=2, empty=True)))
def test_tensors_of_given_shapes(x, z):
    assert x.shape == (2, 3)
    assert (x.dtype, x.requires_grad) == (np.float64, False)
    assert z.ndim >= 2


@given(shapes=strategies.broadcastable_shapes(3))
def test_broadcastable_shapes(shapes):
    assert len(shapes) == 3
    np.broadcast_shapes(*shapes)


@given(x=strategies.away_from((-1.0, 0.0, 1.0)))
def test_away_from(x):
    for kink in (-1.0, 0.0, 1.0):
        assert np.all(np.abs(x - kink) >= 0.05)


@given(x=strategies.distinct((3, 4), gap=0.2))
def test_distinct(x):
    assert np.diff(np.sort(x, axis=None)).min() >= 0.2


@given(data=st.data())
def test_layouts(data):
    x = np.arange(24.0).reshape(2, 3, 4)
    view = data.draw(strategies.layouts(x))
    np.testing.assert_array_equal(view, x)
    view = data.draw(strategies.layouts(x, broadcast=True))
    assert np.array_equal(view, x) or (view.strides[0] == 0 and np.array_equal(view[1], x[0]))


def test_every_layout_is_one_of_its_kind():
    from minidl.testing.properties import broadcast_view, layouts_of

    x = np.arange(24.0).reshape(2, 3, 4)
    found = dict(layouts_of(x))
    assert found["Fortran-ordered"].flags.f_contiguous
    assert not found["strided"].flags.forc
    assert all(s < 0 for s in found["reversed (negative strides)"].strides)
    assert broadcast_view(x).strides[0] == 0
    for view in found.values():
        np.testing.assert_array_equal(view, x)
    for scalar in (np.array(2.0), np.zeros((0, 2))):
        for view in (*dict(layouts_of(scalar)).values(), broadcast_view(scalar)):
            assert view.shape == scalar.shape


@given(data=st.data())
def test_cotangents(data):
    y = md.tensor(np.zeros((2, 3)))
    u = data.draw(strategies.cotangent_like(y))
    assert (u.shape, u.dtype) == ((2, 3), np.float32)
    assert np.all(np.abs(u) >= 0.5)


@given(config=strategies.conv_configs(), seed=strategies.SEEDS)
def test_convolutions(config, seed):
    x, w = config.arrays(seed)
    y = md.ops.conv2d(x, w, **config.kwargs).numpy()
    np.testing.assert_allclose(y, references.conv2d(x, w, **config.kwargs), rtol=1e-10, atol=1e-10)


@given(config=strategies.pool_configs(), data=st.data())
def test_poolings(config, data):
    x = data.draw(strategies.distinct(config.x))
    y = md.ops.max_pool2d(x, **config.kwargs).numpy()
    largest = references.pooled(lambda xs, n: max(xs))
    np.testing.assert_array_equal(y, largest(x, **config.kwargs))
    gradcheck(lambda t: md.ops.max_pool2d(t, **config.kwargs), x, directions=1, kinks="raise")


@given(expression=strategies.expressions(most=6))
def test_expressions(expression):
    assert 1 <= len(expression.steps) <= 6
    lines = repr(expression).splitlines()
    assert len(lines) == len(expression.leaves) + len(expression.steps) + 1
    assert lines[-1].startswith("result = Σ x")


def test_hypothesis_is_imported_only_when_strategies_are_asked_for():
    code = (
        "import sys, minidl.testing\n"
        "assert 'hypothesis' not in sys.modules\n"
        "assert minidl.testing.strategies.tensors\n"
        "assert 'hypothesis' in sys.modules\n"
        "try:\n    minidl.testing.nothing\n"
        "except AttributeError as error:\n    assert 'nothing' in str(error)\n"
        "else:\n    raise SystemExit('no AttributeError')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
