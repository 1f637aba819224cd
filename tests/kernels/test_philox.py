"""Dropout's mask: the numbers of NumPy's Philox, whoever draws them, and whichever part."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl as md
from minidl import rng
from minidl.kernels import philox

KEYS = st.tuples(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1))


def key(pair, first=0):
    return np.array([*pair, first], np.uint64)


def straight(pair, count, p, dtype):
    """The same mask from one stream of NumPy's own."""
    drawn = np.random.Generator(np.random.Philox(key=pair)).random(count, dtype=np.float32)
    return np.where(drawn >= np.float32(p), dtype(1 / (1 - p)), dtype(0))


@given(
    KEYS, st.integers(0, 70), st.integers(0, 90), st.sampled_from([0.1, 0.5, 0.9]),
    st.sampled_from([np.float16, np.float32, np.float64]),
)  # fmt: skip
def test_a_part_has_the_numbers_of_the_whole(pair, first, count, p, dtype):
    found = philox.dropout_mask(key(pair, first), (count, 1), np.dtype(dtype), p)
    assert found.shape == (count, 1) and found.dtype == dtype
    assert np.array_equal(found[:, 0], straight(pair, first + count, p, dtype)[first:])


def test_a_random_number_that_equals_p_is_kept():
    """The share of dropped numbers is p: of the 2²⁴ numbers k/2²⁴, those below p."""
    drawn = np.random.Generator(np.random.Philox(key=(3, 4))).random(50, dtype=np.float32)
    mask = philox.dropout_mask(key((3, 4)), (50,), np.dtype("d"), float(drawn[20]))
    assert mask[20] > 0
    assert np.array_equal(mask > 0, drawn >= drawn[20])


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_any_number_of_threads_draws_the_same(threads):
    before = md.get_threads()
    md.set_threads(threads)
    try:
        found = philox.dropout_mask(key((3, 4), 13), (5, 40_000), np.dtype("f"), 0.3)
    finally:
        md.set_threads(before)
    right = straight((3, 4), 13 + 200_000, 0.3, np.float32)[13:]
    assert np.array_equal(found.reshape(-1), right)


@given(st.integers(0, 99), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3))
def test_an_image_has_its_numbers_in_every_part_of_a_batch(seed, images, each, width):
    """`each`: how many things of an image the first axis runs over."""
    drawn = rng.key(np.random.default_rng(seed), (images * each, width))
    whole = philox.dropout_mask(drawn, (images * each, width), np.dtype("f"), 0.5)
    for i in range(images):
        rows = rng.Rows(np.random.default_rng(seed).bit_generator, slice(i, i + 1), images)
        part = rng.key(rows, (each, width))
        own = philox.dropout_mask(part, (each, width), np.dtype("f"), 0.5)
        assert np.array_equal(own, whole[i * each : (i + 1) * each])
