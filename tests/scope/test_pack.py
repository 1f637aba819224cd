"""Arrays in JSON and back, read as the page reads them."""

import base64

import numpy as np
import pytest

from minidl.scope.pack import FULL, LARGEST, SHORT, pack, statistics


def unpacked(packed):
    """What `unpack` in numbers.js does."""
    raw = np.frombuffer(base64.b64decode(packed["base64"]), np.uint8).reshape(-1, packed["bytes"])
    whole = np.zeros((len(raw), 4), np.uint8)
    whole[:, 4 - packed["bytes"] :] = raw
    values = whole.view("<f4").astype(np.float64).reshape(packed["shape"])
    with np.errstate(all="ignore"):
        return values * 2.0 ** packed["power"]


def test_float32_comes_back_to_the_last_bit():
    x = np.array([[1.5, -0.0, 3e38], [np.inf, -np.inf, 1e-45]], np.float32)
    assert np.array_equal(unpacked(pack(x)), x)
    assert np.isnan(unpacked(pack(np.array([np.nan], np.float32)))).all()


def test_short_values_keep_four_digits_and_what_is_not_finite():
    x = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    assert unpacked(pack(x, SHORT)) == pytest.approx(x, rel=2**-15)
    strange = unpacked(pack(np.array([np.inf, -np.inf, np.nan, 0], np.float32), SHORT))
    assert strange[0] == np.inf and strange[1] == -np.inf and np.isnan(strange[2])
    assert strange[3] == 0
    assert FULL == 4


def test_float64_beyond_float32_keeps_its_size():
    x = np.array([1e200, -3e199, np.inf])
    assert unpacked(pack(x)) == pytest.approx(x, rel=1e-6)
    assert unpacked(pack(np.array([3e-200, 0.0]))) == pytest.approx([3e-200, 0], rel=1e-6)


def test_a_large_array_is_sent_in_part():
    packed = pack(np.zeros((300, 1000), np.float32))
    assert packed["shape"] == [LARGEST // 1000, 1000]


def test_statistics_count_what_an_image_hides():
    x = np.array([0, 0, 3, -4, np.inf, np.nan], np.float32)
    found = statistics(x)
    assert (found["min"], found["max"]) == (-4, 3)
    assert found["zero"] == pytest.approx(1 / 3)
    assert (found["infinite"], found["nan"]) == (1, 1)
    assert statistics(np.full(2, np.nan))["min"] is None
    assert statistics(np.array([3e30, 4e30], np.float32))["rms"] == pytest.approx(12.5**0.5 * 1e30)
