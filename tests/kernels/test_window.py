"""The window's geometry, and the mistakes it refuses."""

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from minidl.errors import ShapeError
from minidl.kernels import Window, window

pairs = st.tuples(st.integers(1, 4), st.integers(1, 4))


@given(st.tuples(st.integers(1, 12), st.integers(1, 12)), pairs, pairs, pairs)
def test_same_keeps_the_size_divided_by_the_stride(image, size, stride, dilation):
    place = window("conv2d", image, size, stride, "same", dilation)
    assert place.out == tuple(-(-n // s) for n, s in zip(image, stride, strict=True))
    top, bottom, left, right = place.pads
    assert 0 <= bottom - top <= 1
    assert 0 <= right - left <= 1


def test_valid_is_no_padding():
    assert window("conv2d", (5, 6), 3, 2, "valid").pads == (0, 0, 0, 0)
    assert window("conv2d", (5, 6), 3, 2, (1, 2)).pads == (1, 1, 2, 2)


def test_an_image_without_rows_may_be_padded():
    assert window("max_pool2d", (0, 4), 2, 1, 1).out == (1, 5)


def test_same_uses_no_more_zeros_than_needed():
    assert window("conv2d", (5, 6), 3, 2, "same").pads == (1, 1, 0, 1)
    assert window("conv2d", (4, 4), 1, 3, "same").pads == (0, 0, 0, 0)
    assert window("conv2d", (6, 6), 3, (2, 1), "same").pads == (0, 1, 1, 1)
    assert window("conv2d", (5, 6), (2, 3), (1, 2), "same", (2, 1)).pads == (1, 1, 0, 1)


@given(pairs, pairs, pairs, pairs, pairs)
def test_taps_meet_every_pixel_that_the_formula_names(extra, size, stride, padding, dilation):
    image = tuple(d * (k - 1) + e for d, k, e in zip(dilation, size, extra, strict=True))
    place = window("conv2d", image, size, stride, padding, dilation)
    rows, columns = np.arange(place.padded[0]), np.arange(place.padded[1])
    assert place.padded == tuple(n + 2 * p for n, p in zip(image, padding, strict=True))
    for i, j, down, across in place.taps():
        assert list(rows[down]) == [r * stride[0] + i * dilation[0] for r in range(place.out[0])]
        assert list(columns[across]) == [
            c * stride[1] + j * dilation[1] for c in range(place.out[1])
        ]
    last = [(n - 1) * s + r for n, s, r in zip(place.out, stride, place.reach, strict=True)]
    assert all(a <= n < a + s for a, n, s in zip(last, place.padded, stride, strict=True))


@given(st.integers(1, 60), pairs, pairs, pairs)
@example(40, (4, 1), (1, 1), (4, 1))
@example(40, (4, 1), (1, 2), (4, 1))
def test_bands_of_one_list_meet_no_image_row_twice(height, size, stride, dilation):
    place = window("conv2d", (height + 12, 13), size, stride, 0, dilation)
    assert sorted(r for bands in place.bands for band in bands for r in band) == list(
        range(place.out[0])
    )
    for bands in place.bands:
        rows = [
            {r * stride[0] + i * dilation[0] for r in band for i in range(size[0])}
            for band in bands
        ]
        assert sum(map(len, rows)) == len(set().union(*rows))


def test_taps_of_some_rows_are_those_rows_of_all_taps():
    place = window("conv2d", (9, 9), 3, 2, 1, 2)
    rows = np.arange(place.padded[0])
    for part, whole in zip(place.taps(slice(1, 3)), place.taps(), strict=True):
        assert part[:2] == whole[:2]
        assert part[3] == whole[3]
        assert list(rows[part[2]]) == list(rows[whole[2]][1:3])


@given(pairs, pairs, pairs, pairs, pairs)
def test_first_taps_are_the_first_on_the_image(image, size, stride, padding, dilation):
    try:
        place = window("max_pool2d", image, size, stride, padding, dilation)
    except ShapeError:
        assume(False)
    real = np.pad(np.ones(image), [(p, p) for p in padding])
    for r, c in np.ndindex(place.out):
        taps = [
            real[r * stride[0] + i * dilation[0], c * stride[1] + j * dilation[1]]
            for i, j in np.ndindex(size)
        ]
        assert place.first_taps[r, c] == np.argmax(taps)


@pytest.mark.parametrize(
    ("image", "size", "stride", "whole"),
    [
        ((4, 6), 2, 2, True),
        ((5, 6), 2, 2, False),
        ((5, 6), 2, 1, False),
        ((6, 6), 3, 2, False),  # 2 places of 3 pixels, and yet they overlap
        ((4, 6), (2, 3), (2, 3), True),
        ((4, 6), 1, 2, False),
    ],
)
def test_tiles_says_whether_each_pixel_has_one_place(image, size, stride, whole):
    assert window("max_pool2d", image, size, stride).tiles is whole


def test_tiles_is_not_fooled_by_padding_or_dilation():
    assert not window("max_pool2d", (2, 2), 2, 2, 1).tiles
    assert not window("max_pool2d", (4, 4), 2, 2, 0, 2).tiles


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"size": 9}, "9×9 window .* 5×5 image"),
        ({"size": (9, 7), "dilation": (1, 2)}, "9×13 window .size 9×7, dilation 1×2. .* 5×5 image"),
        ({"size": 3, "dilation": 3}, "7×7 window .size 3×3, dilation 3×3"),
        ({"size": True}, "size .* got True"),
        ({"size": (3, False)}, "size .* got"),
        ({"size": 0}, "size .* above 0, got 0"),
        ({"size": 3, "stride": 0}, "stride .* got 0"),
        ({"size": 3, "stride": 1.5}, "stride .* got 1.5"),
        ({"size": 3, "stride": (1, 2, 3)}, "stride .* got"),
        ({"size": 3, "dilation": -1}, "dilation .* got -1"),
        ({"size": 3, "padding": -1}, "padding .* 0 or more, got -1"),
        ({"size": 3, "padding": "full"}, '"same" or "valid", got \'full\''),
        ({"size": 3, "padding": None}, "padding .* got None"),
    ],
)
def test_refuses_with_the_reason(arguments, words):
    window("conv2d", (5, 5), 1)  # 1 and True are equal: a cache must not mix them up
    with pytest.raises(ShapeError, match=f"conv2d: expected .*{words}"):
        window("conv2d", (5, 5), **arguments)


def test_whole_numbers_of_numpy_and_lists_will_do():
    place = window("conv2d", (np.int64(5), 5), [np.int32(3), 3])
    assert place == Window((5, 5), (3, 3))
    assert place.out == (3, 3)
