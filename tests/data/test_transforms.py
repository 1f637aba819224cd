import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl.data import (
    compose,
    normalize,
    random_crop,
    random_flip,
    resize,
    scale,
    standardize,
    to_gray,
)
from minidl.errors import ConfigError, DataError, DTypeError, ShapeError


def images(*shape, dtype=np.float32, seed=0):
    return np.random.default_rng(seed).random(shape).astype(dtype)


def generator(seed=0):
    return np.random.default_rng(seed)


def test_scale():
    scaled = scale(np.array([0, 51, 255], np.uint8))
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled, [0, 0.2, 1])
    assert scale(np.array([255.0])).dtype == np.float64
    assert scale(np.array([3], np.int64)).dtype == np.float32


@pytest.mark.parametrize("values", [[256], [-1], [np.nan], [255.5]])
def test_scale_refuses_what_no_pixel_holds(values):
    with pytest.raises(DataError, match="from 0 to 255"):
        scale(np.array(values))


def test_scale_refuses_other_types():
    with pytest.raises(DTypeError, match="bool"):
        scale(np.array([True]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_normalize(dtype):
    x = images(4, 3, 2, 2, dtype=dtype)
    y = normalize([0.1, 0.2, 0.3], [1, 2, 4])(x)
    assert y.dtype == dtype
    for c, (mean, std) in enumerate([(0.1, 1), (0.2, 2), (0.3, 4)]):
        np.testing.assert_allclose(y[:, c], (x[:, c] - mean) / std, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(normalize(0.5, 2)(x), (x - 0.5) / 2, rtol=1e-5, atol=1e-6)


def test_normalize_survives_json():
    transform = normalize([0.1, 1 / 3], 0.7)
    again = normalize(**json.loads(json.dumps(transform.to_config())))
    x = images(2, 2, 3, 3)
    np.testing.assert_array_equal(transform(x), again(x))


@pytest.mark.parametrize(
    "mean, std",
    [(0, 0), (0, -1), (np.nan, 1), (0, np.inf), ([0, 1], [1, 2, 3]), ("a", 1), ([[0]], 1), (0, [])],
)
def test_normalize_refuses(mean, std):
    with pytest.raises(ConfigError, match="normalize: expected"):
        normalize(mean, std)


def test_normalize_refuses_other_channels():
    with pytest.raises(ShapeError, match="2 channels"):
        normalize([0, 0], 1)(images(1, 3, 2, 2))


def test_standardize_gives_mean_0_and_std_1_for_each_channel():
    x = images(50, 3, 4, 4) * np.float32([1, 5, 100]).reshape(1, 3, 1, 1) + 7
    fitted = standardize(x)
    y = fitted(x)
    np.testing.assert_allclose(fitted.mean, x.mean((0, 2, 3), np.float64))
    np.testing.assert_allclose(y.mean((0, 2, 3), np.float64), 0, atol=1e-5)
    np.testing.assert_allclose(y.std((0, 2, 3), np.float64), 1, rtol=1e-5)


def test_standardize_refuses_a_constant_channel():
    x = images(5, 2, 3, 3)
    x[:, 1] = 0.1
    with pytest.raises(DataError, match=r"channel 1 .* is constant"):
        standardize(x)


def test_to_gray():
    x = images(2, 3, 4, 5)
    y = to_gray(x)
    assert y.shape == (2, 1, 4, 5) and y.dtype == np.float32
    expected = np.tensordot(x, np.array([0.299, 0.587, 0.114]), (1, 0))
    np.testing.assert_allclose(y[:, 0], expected, rtol=1e-5)
    np.testing.assert_array_equal(to_gray(y), y)
    with pytest.raises(ShapeError, match="3 channels"):
        to_gray(images(1, 4, 2, 2))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_resize_takes_area_averages(channels, dtype):
    x = images(2, channels, 4, 6, dtype=dtype)
    y = resize((2, 3))(x)
    assert y.dtype == dtype
    means = x.reshape(2, channels, 2, 2, 3, 2).mean((3, 5))
    np.testing.assert_allclose(y, means, rtol=1e-5)
    assert resize(8)(x).shape == (2, channels, 8, 8)
    np.testing.assert_array_equal(resize((4, 6))(x), x)


def test_random_crop_cuts_windows_of_the_padded_image():
    x = images(40, 2, 3, 4) + 1
    y = random_crop((3, 4), padding=1)(x, generator())
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    seen = set()
    for i in range(40):
        places = [
            (r, c)
            for r in range(3)
            for c in range(3)
            if np.array_equal(padded[i, :, r : r + 3, c : c + 4], y[i])
        ]
        assert len(places) == 1
        seen.update(places)
    assert seen == {(r, c) for r in range(3) for c in range(3)}


def test_random_crop_refuses_a_window_that_does_not_fit():
    with pytest.raises(ShapeError, match="at least 5x5 after 0"):
        random_crop(5)(images(1, 1, 4, 4), generator())
    with pytest.raises(ConfigError, match="padding"):
        random_crop(3, padding=-1)


def test_random_flip_mirrors_whole_images():
    x = images(200, 2, 2, 3)
    y = random_flip(0.25)(x, generator())
    mirrored = np.array([np.array_equal(a[..., ::-1], b) for a, b in zip(x, y, strict=True)])
    same = np.array([np.array_equal(a, b) for a, b in zip(x, y, strict=True)])
    assert (mirrored ^ same).all() and 25 <= mirrored.sum() <= 75
    np.testing.assert_array_equal(random_flip(1)(x, generator()), x[..., ::-1])
    np.testing.assert_array_equal(random_flip(0)(x, generator()), x)
    with pytest.raises(ConfigError, match="from 0 to 1"):
        random_flip(1.5)


@given(seed=st.integers(0, 2**32), dtype=st.sampled_from([np.float32, np.float64]))
def test_random_transforms_repeat_with_the_seed_and_leave_their_input(seed, dtype):
    x = images(5, 2, 4, 4, dtype=dtype, seed=seed)
    before = x.copy()
    transform = compose(random_crop(4, 2), random_flip())
    y = transform(x, generator(seed))
    assert y.dtype == dtype and not np.shares_memory(x, y)
    np.testing.assert_array_equal(y, transform(x, generator(seed)))
    np.testing.assert_array_equal(x, before)


def test_compose_goes_from_left_to_right_and_knows_whether_it_is_random():
    x = images(2, 3, 4, 4)
    plain = compose(to_gray, normalize(1, 2), resize(2))
    np.testing.assert_array_equal(plain(x), resize(2)(normalize(1, 2)(to_gray(x))))
    assert not plain.random and compose(to_gray, random_flip()).random
    assert repr(compose(to_gray, resize(2))) == "compose(to_gray, resize((2, 2)))"


def test_a_random_transform_without_a_generator_is_refused():
    for transform in (random_flip(), random_crop(2), compose(random_flip())):
        with pytest.raises(ConfigError, match="expected a NumPy generator"):
            transform(images(1, 1, 4, 4))


@pytest.mark.parametrize("transform", [normalize(0, 1), resize(2), to_gray, standardize])
def test_bytes_and_single_images_are_refused(transform):
    with pytest.raises(DTypeError, match="uint8"):
        transform(np.zeros((1, 3, 4, 4), np.uint8))
    with pytest.raises(ShapeError, match=r"image\[None\]"):
        transform(images(3, 4, 4))
