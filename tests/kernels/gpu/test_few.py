"""Convolutions of few channels, run thread by thread on the CPU, against array code in float64."""

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from minidl import kernels
from minidl.errors import ShapeError
from minidl.kernels import portable
from minidl.kernels.gpu import few, launch
from tests import standin
from tests.standin.kernels import COMPILER

from ..cases import close, rearranged
from .orders import same_bytes_in_every_order

pytestmark = [
    pytest.mark.host,
    pytest.mark.skipif(COMPILER is None, reason="no g++ to compile the kernels with"),
]
examples = settings(max_examples=15)


class Kind(NamedTuple):
    """What the kernels are compiled for: a compilation each, so there are not many."""

    channels: int
    size: tuple[int, int]
    pool: tuple[int, int] = (2, 2)
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    dtype: type = np.float32
    wide: bool = False  # 64-bit indices
    tile: int = few.TILE

    def window(self, image, padding):
        return kernels.window("conv2d", image, self.size, self.stride, padding, self.dilation)


KINDS = [
    Kind(1, (3, 3)),
    Kind(3, (3, 3), dtype=np.float64, tile=500),
    Kind(2, (2, 3), (1, 3), (1, 2), (2, 1), wide=True),
    Kind(4, (1, 1), (3, 1), (2, 1), dtype=np.float64, wide=True),
    Kind(1, (5, 4), tile=300),
]
every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda k: f"{k.channels}-{k.size}")


class Case(NamedTuple):
    window: kernels.Window
    x: np.ndarray
    w: np.ndarray
    b: np.ndarray | None
    random: np.random.Generator

    def normal(self, *shape):
        return self.random.normal(size=shape).astype(self.x.dtype)


@st.composite
def cases(draw, kind: Kind) -> Case:
    """Images of every small size, with whole numbers in them: their sums are exact."""
    image = draw(st.tuples(st.integers(1, 11), st.integers(1, 11)))
    try:
        window = kind.window(image, draw(st.sampled_from([0, 1, (2, 3), "same"])))
    except ShapeError:
        assume(False)
    n, outputs = (
        draw(st.sampled_from([1, 2, 5, 7, 75])),
        draw(st.sampled_from([1, 3, 8, 9, 21, 35])),
    )
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))

    def whole(*shape):
        return rearranged(random, random.integers(-1, 2, shape).astype(kind.dtype))

    b = draw(st.sampled_from([None, whole(outputs)]))
    x, w = whole(n, kind.channels, *image), whole(outputs, kind.channels, *kind.size)
    return Case(window, x, w, b, random)


@pytest.fixture
def ran(gpu, monkeypatch):
    """The names of the launched kernels, without the copies of arrays that are not contiguous."""
    yield lambda: [name for name in standin.counter.launched if name != "ascontiguousarray"]
    few._constants.cache_clear(), few.stripes.cache_clear()


def prepare(kind, monkeypatch, spread=few.SPREAD, blocks=few.BLOCKS):
    monkeypatch.setattr(few, "TILE", kind.tile)
    monkeypatch.setattr(few, "SPREAD", spread)
    monkeypatch.setattr(few, "BLOCKS", blocks)
    monkeypatch.setattr(launch, "LARGE", 0 if kind.wide else 1 << 30)
    few._constants.cache_clear(), few.stripes.cache_clear()
    standin.counter.clear()


def there(gpu, array):
    return None if array is None else gpu(array)


def in_double(*arrays):
    return [None if a is None else a.astype(np.float64) for a in arrays]


def convolved(x, w, b, window):
    with np.errstate(invalid="ignore"):  # 0·∞
        return portable.conv_forward(*in_double(x, w, b), window, 1)


def special(case):
    """Put NaN or an infinity somewhere, in one of four cases."""
    if case.random.integers(4) == 0:
        at = tuple(case.random.integers(case.x.shape))
        case.x[at] = case.random.choice([np.nan, np.inf, -np.inf])


@every_kind
@examples
@given(st.data())
def test_convolution(gpu, ran, monkeypatch, kind, data):
    case = data.draw(cases(kind))
    special(case)
    window, x, w, b, _ = case
    prepare(kind, monkeypatch)
    monkeypatch.setattr(few, "MANY", data.draw(st.sampled_from([1, few.MANY])))
    y = kernels.conv_forward(gpu(x), gpu(w), there(gpu, b), window, 1)
    np.testing.assert_array_equal(y.get(), convolved(x, w, b, window))
    assert y.dtype == x.dtype
    assert ran() == ["few_conv"]


@every_kind
@examples
@given(st.data())
def test_its_gradient_by_w(gpu, ran, monkeypatch, kind, data):
    case = data.draw(cases(kind))
    window, x, w, _, _ = case
    spread, blocks = data.draw(st.sampled_from([1, 4, 128])), data.draw(st.sampled_from([2, 512]))
    prepare(kind, monkeypatch, spread, blocks)
    g = case.normal(len(x), len(w), *window.out)
    dw = kernels.conv_weight_grad(gpu(x), gpu(g), window, 1).get()
    close(dw, portable.conv_weight_grad(*in_double(x, g), window, 1).astype(x.dtype))
    assert ran() == ["few_grads"]


@every_kind
@examples
@given(st.data())
def test_convolution_and_pooling_in_one(gpu, ran, monkeypatch, kind, data):
    case = data.draw(cases(kind))
    special(case)
    window, x, w, b, _ = case
    try:
        pool = kernels.window("max_pool2d", window.out, kind.pool, kind.pool)
    except ShapeError:
        assume(False)
    assume(pool.padded == pool.image)
    rectify = data.draw(st.booleans())
    spread, blocks = data.draw(st.sampled_from([1, 4, 128])), data.draw(st.sampled_from([2, 512]))
    prepare(kind, monkeypatch, spread, blocks)
    y, index = kernels.conv_pool(gpu(x), gpu(w), there(gpu, b), window, 1, pool, rectify)
    right, first = portable.max_pool(convolved(x, w, b, window), pool)
    if rectify:
        first[~(right > 0)], right = kernels.NO_TAP, np.maximum(right, 0)
    np.testing.assert_array_equal(y.get(), right)
    np.testing.assert_array_equal(index.get(), first)

    x, g = np.nan_to_num(x, posinf=1, neginf=2), case.normal(*y.shape)
    dw, db = kernels.conv_pool_grads(gpu(x), gpu(g), index, window, 1, pool)
    taken = np.where(first == kernels.NO_TAP, 0, g).astype(np.float64)
    wide = portable.max_unpool(taken, first, pool)
    close(dw.get(), portable.conv_weight_grad(*in_double(x), wide, window, 1).astype(x.dtype))
    close(db.get(), wide.sum((0, 2, 3)).astype(x.dtype))
    assert ran() == ["few_conv_pool", "few_grads"]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_parts_are_added_in_one_order_whichever_is_last(gpu, dtype):
    """40 parts in groups of 16, by 3 blocks each for 96 outputs; and the launches of a graph."""
    few._constants.cache_clear()
    few.stripes.cache_clear()
    window = kernels.window("conv2d", (8, 8), 3, 1, "same")
    pool = kernels.window("max_pool2d", (8, 8), 2, 2)
    random = np.random.default_rng(0)
    x, g = random.normal(size=(40, 1, 8, 8)), random.normal(size=(40, 96, 4, 4))
    index = random.integers(0, 4, g.shape).astype(np.uint8)
    arrays = gpu(x.astype(dtype)), gpu(g.astype(dtype)), gpu(index)

    def grads():
        return kernels.conv_pool_grads(*arrays, window, 1, pool)

    same_bytes_in_every_order(grads, 120)
    wide = portable.max_unpool(g, index, pool)
    right = portable.conv_weight_grad(x, wide, window, 1), wide.sum((0, 2, 3))
    graph = kernels.Graph(grads, like=arrays[0])
    for found in (grads(), graph.launch(), graph.launch()):
        for ours, theirs in zip(found, right, strict=True):
            close(ours.get(), theirs.astype(dtype))


def test_where_relu_was_0_an_infinity_under_the_window_adds_nothing(gpu, ran, monkeypatch):
    kind = KINDS[0]
    prepare(kind, monkeypatch)
    window = kind.window((4, 4), "same")
    pool = kernels.window("max_pool2d", (4, 4), 2, 2)
    x = np.ones((1, 1, 4, 4), np.float32)
    x[0, 0, 3, 3] = np.inf  # which only the last two rows and columns of places see
    index = np.array([[[[0, kernels.NO_TAP], [kernels.NO_TAP] * 2]]], np.uint8)
    g = np.full((1, 1, 2, 2), 2, np.float32)
    dw, db = kernels.conv_pool_grads(gpu(x), gpu(g), gpu(index), window, 1, pool)
    assert db.get().tolist() == [2]
    assert dw.get().tolist() == [[[[0, 0, 0], [0, 2, 2], [0, 2, 2]]]]


@pytest.mark.parametrize(
    ("channels", "size", "pool", "forward", "grads"),
    [
        (1, 3, (2, 2), True, True),  # the article's CNN
        (4, 3, (2, 2), True, True),
        (1, 5, (2, 2), True, True),
        (5, 1, (2, 2), False, False),
        (3, 3, (3, 3), False, True),
        (2, 5, (2, 2), True, False),
        (3, 5, (2, 2), False, False),
        (3, 3, None, True, True),  # vgg_small's first layer
        (4, 3, None, True, True),
        (2, 5, None, False, True),
        (3, 4, None, False, True),
        (3, 5, None, False, False),
    ],
)
def test_what_does_not_fit_goes_to_the_general_kernels(
    gpu, ran, channels, size, pool, forward, grads
):
    x, w = np.ones((1, channels, 6, 6), np.float32), np.ones((2, channels, size, size), np.float32)
    window = kernels.window("conv2d", (6, 6), size, 1, "same")
    standin.counter.clear()
    if pool is None:
        g = np.ones((1, 2, 6, 6), np.float32)
        close(
            kernels.conv_forward(gpu(x), gpu(w), None, window, 1).get(),
            portable.conv_forward(x, w, None, window, 1),
        )
        close(
            kernels.conv_weight_grad(gpu(x), gpu(g), window, 1).get(),
            portable.conv_weight_grad(x, g, window, 1),
        )
        assert few.fits(2, channels, window) == ("few_conv" in ran()) == forward
        assert few.grads_fit(2, channels, window) == ("few_grads" in ran()) == grads
    else:
        assert few.fits(2, channels, window, pool) == forward
        assert few.grads_fit(2, channels, window, pool) == grads
    assert not few.fits(few.ROWS_OF_BLOCKS + 1, 1, window)
    assert not few.grads_fit(few.ROWS_OF_BLOCKS + 1, 1, window)


@pytest.mark.parametrize(("across", "fits"), [(1361, True), (1362, True), (1363, False)])
def test_a_row_of_a_large_image_must_fit_into_shared_memory(across, fits):
    window = kernels.window("conv2d", (3, across), (3, 3), 1, (0, 1))  # 3 lines, 2 more pixels wide
    assert few.grads_fit(1, 1, window) == fits


@pytest.mark.parametrize(
    ("n", "channels", "image", "pool", "found"),
    [
        (64, 1, (28, 28), (2, 2), (7, 1)),  # 128 blocks, of half an image each
        (256, 1, (28, 28), (2, 2), (14, 1)),
        (1024, 1, (28, 28), (2, 2), (14, 4)),  # 256 blocks, of 4 images each
        (1 << 20, 1, (28, 28), (2, 2), (14, 4)),
        (128, 3, (32, 32), (1, 1), (32, 1)),
        (128, 3, (224, 224), (1, 1), (4, 1)),
        (1, 1, (28, 28), (2, 2), (3, 1)),  # 42 places for 32 lanes
        (1, 1, (4, 4), (2, 2), (2, 1)),
    ],
)
def test_the_blocks_parts_depend_on_the_sizes(n, channels, image, pool, found):
    few.stripes.cache_clear()
    window = kernels.window("conv2d", image, 3, 1, "same")
    assert few.stripes(n, channels, window, pool) == found
