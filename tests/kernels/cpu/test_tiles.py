"""Tiles hold as much as TILE allows, and never nothing."""

import numpy as np
import pytest

from minidl import kernels
from minidl.kernels import reference
from minidl.kernels.cpu import (
    batch_norm,
    columns,
    conv_pool,
    elementwise,
    pool,
    rows,
    update,
)

pytestmark = pytest.mark.host


def test_rows_of_columns(monkeypatch):
    window = kernels.window("conv2d", (7, 5), 3, 1, "same")
    row = 9 * 5 * 2 * 4  # bytes: lines, columns, images, float32
    for tile, count in ((row - 1, 1), (row, 1), (2 * row - 1, 1), (2 * row, 2), (99 * row, 7)):
        monkeypatch.setattr(columns, "TILE", tile)
        found = list(columns._row_tiles(9, window, 2, 4))
        assert found == [slice(r, min(r + count, 7)) for r in range(0, 7, count)]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
def test_a_last_tile_that_is_smaller(monkeypatch, count):
    window = kernels.window("conv2d", (7, 5), 3, 1, "same")
    random = np.random.default_rng(0)
    x, w, g = (random.integers(-2, 3, s).astype(float) for s in ((2, 1, 7, 5), (3, 1, 3, 3), 70))
    g = np.stack([g.reshape(2, 7, 5)] * 3, 1)
    monkeypatch.setattr(columns, "TILE", count * 9 * 5 * 2 * 8)
    y = columns.conv_forward(x, w, None, window)
    np.testing.assert_array_equal(y, reference.conv_forward(x, w, None, window, 1))
    dw = columns.conv_weight_grad(x, g, window)
    np.testing.assert_array_equal(dw, reference.conv_weight_grad(x, g, window, 1))
    dx = columns.conv_input_grad(g, w, window)
    np.testing.assert_array_equal(dx, reference.conv_input_grad(g, w, window, 1))


def test_rows_and_channels_of_a_pooling(monkeypatch):
    window = kernels.window("max_pool2d", (8, 6), 2, 2)
    x = np.zeros((2, 5, 8, 6), np.float32)
    line = 3 * 2 * 4  # bytes of one output row of one channel
    for tile, lines, channels in (
        *((line - 1, 1, 1), (3 * line, 1, 3), (5 * line, 1, 5), (9 * line, 1, 5)),
        *((10 * line, 2, 5), (11 * line, 2, 5), (99 * line, 4, 5)),
    ):
        monkeypatch.setattr(pool, "TILE", tile)
        assert list(pool._tiles(window, x)) == [
            (slice(r, min(r + lines, 4)), slice(c, min(c + channels, 5)))
            for r in range(0, 4, lines)
            for c in range(0, 5, channels)
        ]


def test_pooled_rows_of_a_convolution(monkeypatch):
    window = kernels.window("conv2d", (8, 6), 3, 1, "same")
    pooling = kernels.window("max_pool2d", window.out, 2, 2)
    x = np.zeros((2, 1, 8, 6), np.float32)
    place = 4 * 7 * 2 * 4  # bytes: taps, output channels, images, float32
    for tile, high, wide in (
        (1, 1, 1),
        (2 * place, 1, 2),  # rows of 3 places: 2 and 1
        (3 * place - 1, 1, 2),
        (3 * place, 1, 3),
        (6 * place - 1, 1, 3),
        (6 * place, 2, 3),
        (9 * place, 2, 3),  # equal parts: 3 rows and 1 would take as long as 3 and 3
        (99 * place, 4, 3),
    ):
        monkeypatch.setattr(conv_pool, "TILE", tile)
        assert conv_pool._tiles(x, 7, pooling) == [
            (slice(r, r + high), slice(c, min(c + wide, 3)))
            for r in range(0, 4, high)
            for c in range(0, 3, wide)
        ]


def test_the_tiles_fit_into_a_cache_and_make_long_calls():
    for module in (columns, pool, batch_norm, conv_pool, rows):
        assert 1024 * 1024 <= module.TILE <= 2048 * 1024  # second-level caches of today
    for module in (elementwise, update):
        assert 512 * 1024 <= 4 * module.CHUNK <= 1024 * 1024  # several arrays at a time


@pytest.mark.parametrize(("stride", "alone"), [(2, True), (1, False)])
def test_no_two_tiles_that_add_to_one_pixel_run_at_once(monkeypatch, stride, alone):
    parts = []
    monkeypatch.setattr(pool, "share", lambda function, given: parts.extend(given))
    window = kernels.window("max_pool2d", (64, 64), 2, stride)
    g = np.ones((64, 256, *window.out), "f4")
    pool._share_adding(lambda tile: None, window, g)
    assert len(parts) > 1
    if not alone:  # windows overlap: the tiles of one range of channels follow each other
        starts = [{channels.start for _, channels in tiles} for tiles in parts]
        assert all(len(start) == 1 for start in starts)
        assert len(set.union(*starts)) == len(parts)
    else:
        assert all(isinstance(tile[0], slice) for tile in parts)
