import cv2
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


def fill(folder, *parts):
    """A folder of parts, each with two classes of three images of its own."""
    for start, part in enumerate(parts):
        for k, name in enumerate(("ice", "lava")):
            for i in range(3):
                path = folder / part / name / f"{i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                image = np.full((4, 4, 3), 70 * start + 20 * k + i, np.uint8)
                image[0] += 9
                cv2.imwrite(str(path), image)
    return folder


def first_pixels(part):
    return sorted({round(float(x) * 255) // 70 for x in part.images[:, 0, 3, 3]})


def read(folder, said=None, **options):
    say = [].append if said is None else said.append
    return load_data(Config(data=str(folder), standardize=False, **options), say=say)


def test_validation_is_watched_and_the_test_part_kept_for_the_end(tmp_path):
    splits = read(fill(tmp_path, "Train", "dev", "Testing"))
    parts = splits.train, splits.validation, splits.test
    assert [first_pixels(part) for part in parts] == [[0], [1], [2]]


def test_validation_alone_is_both(tmp_path):
    splits = read(fill(tmp_path, "train", "val"))
    assert first_pixels(splits.validation) == [1] and splits.test is splits.validation


def test_a_share_is_asked_of_the_training_part_where_none_is_given(tmp_path):
    splits = read(fill(tmp_path, "train", "test"), validation=0.5)
    assert [len(p) for p in (splits.train, splits.validation, splits.test)] == [3, 3, 6]
    with pytest.raises(ConfigError, match="a validation part of its own"):
        read(fill(tmp_path, "train", "test", "valid"), validation=0.5)


@pytest.mark.parametrize("patience", [None, 2])
def test_copies_of_an_image_that_the_split_tears_apart_are_said(tmp_path, patience):
    said = []
    fill(tmp_path, ".")
    read(tmp_path, said, validation=0.5, patience=patience)
    assert said == []
    for name in ("ice", "lava"):
        for i in range(3):
            whole = (tmp_path / name / f"{i}.png").read_bytes()
            (tmp_path / name / f"copy-{i}.png").write_bytes(whole)
    splits = read(tmp_path, said, validation=0.5, patience=patience)
    held_out = {"validation": splits.validation} | ({"test": splits.test} if patience else {})
    seen = {image.tobytes() for image in splits.train.images}
    for part, images in held_out.items():
        count = sum(image.tobytes() in seen for image in images.images)
        [note] = [line for line in said if f"of the {part} images are also train" in line]
        assert count and note.startswith(f"{tmp_path}: {count} of the {part} images")


def test_what_is_left_out_or_found_twice_is_said(tmp_path, capsys):
    fill(tmp_path, "train", "val", "test")
    (tmp_path / "val" / "ice" / "torn.png").write_bytes(b"\x89PNG")
    whole = (tmp_path / "train" / "ice" / "0.png").read_bytes()
    (tmp_path / "test" / "lava" / "copy.png").write_bytes(whole)
    said = []
    read(tmp_path, said, skip_bad=True)
    assert said[0] == "skip-bad: files left out: 1" and "torn.png: " in said[1]
    assert "1 of the test images are also train images" in said[2] and len(said) == 3
    load_data(Config(data=str(tmp_path), skip_bad=True))
    assert "torn.png" in capsys.readouterr().err
