import numpy as np
import pytest

from minidl import data
from minidl.errors import ConfigError
from minidl.runs import NAMED, Config, load_data
from minidl.runs import data as runs_data


def made(count, seed=0):
    rng = np.random.default_rng(seed)
    return data.Dataset(rng.random((count, 1, 4, 4), dtype=np.float32), np.arange(count) % 2)


@pytest.fixture
def two_parts(monkeypatch):
    parts = made(40), made(10, seed=1)
    monkeypatch.setitem(NAMED, "mnist", NAMED["mnist"]._replace(load=lambda root: parts))
    return parts


def test_a_test_part_also_validates(two_parts):
    splits = load_data(Config(data="mnist"))
    assert splits.train is two_parts[0]
    assert splits.validation is splits.test is two_parts[1]
    assert splits.normalize is None


def test_a_share_is_taken_from_the_training_part(two_parts):
    splits = load_data(Config(data="mnist", validation=0.25))
    assert [len(p) for p in (splits.train, splits.validation, splits.test)] == [30, 10, 10]
    assert splits.test is two_parts[1]
    other = load_data(Config(data="mnist", validation=0.25, seed=9))
    np.testing.assert_array_equal(splits.validation.images, other.validation.images)


def test_normalisation_is_fitted_to_the_training_images(two_parts):
    splits = load_data(Config(data="mnist", standardize=True))
    assert splits.train.images.mean() == pytest.approx(0, abs=1e-6)
    assert splits.train.images.std() == pytest.approx(1, abs=1e-5)
    test = (two_parts[1].images - two_parts[0].images.mean()) / two_parts[0].images.std()
    np.testing.assert_allclose(splits.test.images, test, rtol=1e-4, atol=1e-5)
    given = load_data(Config(data="mnist"), data.normalize(0.5, 2.0))
    np.testing.assert_allclose(given.test.images, (two_parts[1].images - 0.5) / 2, rtol=1e-5)


def test_digits_are_held_out_by_one_in_five():
    pytest.importorskip("sklearn", reason="scikit-learn holds the digits")
    splits = load_data(Config())
    assert (len(splits.train), len(splits.test)) == (1438, 359)
    assert splits.validation is splits.test


@pytest.mark.parametrize(
    "options",
    [{"size": 8}, {"gray": True}, {"skip_bad": True}, {"root": "x"}, {"data": "none"}],
)
def test_options_that_do_not_fit(options):
    with pytest.raises(ConfigError):
        load_data(Config(**options))


def test_a_folder_needs_no_root(tmp_path):
    with pytest.raises(ConfigError, match="root"):
        load_data(Config(data=str(tmp_path), root="x"))
    assert runs_data._HELD_OUT == 0.2
