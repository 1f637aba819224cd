"""Random numbers of some images of a batch."""

import numpy as np
import pytest

from minidl.rng import Rows


def source(seed=3):
    return np.random.default_rng(seed)


@pytest.mark.parametrize(("start", "stop"), [(0, 2), (2, 5), (5, 6)])
def test_an_image_gets_the_numbers_that_it_gets_in_the_whole_batch(start, stop):
    rows = slice(start, stop)
    own, whole = Rows(source().bit_generator, rows, 6), source()
    count = stop - start
    for draw in (
        lambda g, n: g.random(n),
        lambda g, n: g.random((n, 3), dtype=np.float32),
        lambda g, n: g.integers([4, 9], size=(n, 2), endpoint=True),
        lambda g, n: g.integers(0, 7, n),
    ):
        np.testing.assert_array_equal(draw(own, count), draw(whole, 6)[rows])
    several = own.random((2 * count, 3))  # two things of each image, one after the other
    np.testing.assert_array_equal(several, whole.random((12, 3))[2 * start : 2 * stop])
    assert own.random() == whole.random(), "both generators stand at the same number"


def test_what_is_drawn_for_the_batch_as_a_whole_is_the_same_for_everybody():
    parts = [Rows(source().bit_generator, slice(a, a + 3), 6) for a in (0, 3)]
    for draw in (lambda g: g.random(), lambda g: g.random(4), lambda g: g.normal(size=2)):
        first, second = map(draw, parts)
        np.testing.assert_array_equal(first, second)
