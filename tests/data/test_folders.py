"""ImageFolder and folder_splits: what they find, and that every bad file is named at once."""

import copy
import os
import pickle
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

import minidl.data.reading as reading
from minidl.data import ImageFolder, folder_splits, load_image
from minidl.data.image_files import Files
from minidl.errors import DataError

CIFAR = Path(__file__).parents[2] / "../shared/data/cifar10"


def save(path, value=0, shape=(4, 4, 3)):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full(shape, value, np.uint8))
    return path


@pytest.fixture
def root(tmp_path):
    """Two classes: b holds 0 and 10, a holds 20 (and one in a folder below it: 30)."""
    folder = tmp_path / "pets"
    for name, value in [("b/0.png", 0), ("b/1.png", 10), ("a/x.png", 20), ("a/deep/y.png", 30)]:
        save(folder / name, value)
    return folder


def values(data):
    return (data.images[:, 0, 0, 0] * 255).round().astype(int).tolist()


def test_sorted_classes_and_files(root):
    data = ImageFolder(root)
    assert data.classes == ("a", "b") and data.name == "pets" and data.skipped == []
    assert data.images.shape == (4, 3, 4, 4) and data.images.dtype == np.float32
    assert values(data) == [20, 30, 0, 10] and data.labels.tolist() == [0, 0, 1, 1]
    assert data.paths[1] == str(root / "a/deep/y.png")
    np.testing.assert_array_equal(data.images[0], load_image(data.paths[0]))


def test_gray_size_and_progress(root):
    data = ImageFolder(root, gray=True, size=(2, 3), progress=True)
    assert data.images.shape == (4, 1, 2, 3)


def test_hidden_files_and_folders_do_not_count(root):
    for name in (".DS_Store", "a/.DS_Store", "a/Thumbs.db", "b/desktop.ini", ".git/x", "notes.txt"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text("not an image")
    assert len(ImageFolder(root)) == 4


def test_given_classes_fix_the_labels(root):
    data = ImageFolder(root, classes=["b", "none", "a"])
    assert data.classes == ("b", "none", "a") and data.labels.tolist() == [0, 0, 2, 2]
    with pytest.raises(DataError, match="found a"):
        ImageFolder(root, classes=["b", "c"])
    with pytest.raises(DataError, match="a name twice"):
        ImageFolder(root, classes=["a", "b", "b"])


def test_all_bad_files_are_listed_at_once_and_can_be_skipped(root):
    (root / "a/empty.png").touch()
    (root / "b/notes.txt").write_text("hello")
    whole = (root / "b/0.png").read_bytes()
    (root / "b/cut.png").write_bytes(whole[:40])
    with pytest.raises(DataError, match=r"3 of 7 files cannot be used") as caught:
        ImageFolder(root)
    text = str(caught.value)
    assert "skip_bad=True" in text and all(path in text for path, _ in caught.value.files)
    data = ImageFolder(root, skip_bad=True)
    assert values(data) == [20, 30, 0, 10]
    assert data.skipped == caught.value.files
    assert [Path(path).name for path, _ in data.skipped] == ["empty.png", "cut.png", "notes.txt"]


def test_a_long_list_is_shortened_in_the_message_only(root):
    for i in range(30):
        (root / f"a/{i}.jpg").write_text("no")
    with pytest.raises(DataError, match="and 10 more") as caught:
        ImageFolder(root)
    assert len(caught.value.files) == 30 and str(caught.value).count("\n") == 21


def test_other_sizes_are_named_even_with_skip_bad(root):
    odd = save(root / "b/odd.png", shape=(5, 4, 3))
    for skip_bad in (False, True):
        with pytest.raises(DataError, match="give size=") as caught:
            ImageFolder(root, skip_bad=skip_bad)
        assert [path for path, _ in caught.value.files] == [str(odd)]
        assert "5x4 pixels" in str(caught.value) and "has 4x4" in str(caught.value)
    assert len(ImageFolder(root, size=4)) == 5


@pytest.mark.parametrize("skip_bad", [False, True])
def test_a_class_without_images(root, skip_bad):
    (root / "c").mkdir()
    with pytest.raises(DataError, match="there is none in c"):
        ImageFolder(root, skip_bad=skip_bad)


def test_roots_that_hold_no_classes(tmp_path):
    with pytest.raises(DataError, match="No such file"):
        ImageFolder(tmp_path / "nowhere")
    with pytest.raises(DataError, match="Not a directory"):
        ImageFolder(save(tmp_path / "x.png"))
    with pytest.raises(DataError, match="no folder in it"):
        ImageFolder(tmp_path)
    save(tmp_path / "only/x.png")
    with pytest.raises(DataError, match="only 'only'"):
        ImageFolder(tmp_path)


def test_a_folder_with_mnists_files_is_told_how_to_be_read(tmp_path):
    (tmp_path / "train-images-idx3-ubyte.gz").touch()
    with pytest.raises(DataError, match=r"MNIST, which --data mnist --root .* reads"):
        ImageFolder(tmp_path)


def test_links_in_a_circle_end_and_are_reported(root):
    (root / "a/back").symlink_to(root)
    (root / "b/self").symlink_to(root / "b/self")
    (root / "c").symlink_to(root.parent)
    with pytest.raises(DataError) as caught:
        ImageFolder(root)
    reasons = {Path(path).name: reason for path, reason in caught.value.files}
    assert set(reasons) == {"back", "self", "c"}
    assert "not followed" in reasons["back"] and "holds it" in reasons["c"]


def test_a_class_folder_may_be_a_link_elsewhere(root, tmp_path):
    save(tmp_path / "elsewhere/z.png", 40)
    (root / "c").symlink_to(tmp_path / "elsewhere")
    assert values(ImageFolder(root)) == [20, 30, 0, 10, 40]


def test_a_folder_that_may_not_be_read(root, monkeypatch):
    real = os.scandir

    def refuse(path):
        if Path(path).name == "deep":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match="Permission denied"):
        ImageFolder(root)


def test_too_many_images_for_the_memory(root, monkeypatch):
    def refuse(*_):
        raise MemoryError

    whole = ImageFolder(root)
    monkeypatch.setattr(reading.np, "empty", lambda shape, dtype: refuse())
    with pytest.raises(DataError, match=r"4 images of 3x4x4 to fit into memory, but .*--size"):
        ImageFolder(root, lazy=False)
    lazy = ImageFolder(root)
    assert isinstance(lazy.source, Files) and (lazy.images == whole.images).all()


@pytest.fixture
def parts(root, tmp_path):
    folder = tmp_path / "parts"
    shutil.copytree(root, folder / "train")
    save(folder / "test/b/t.png", 50)
    return folder


def test_splits_share_the_training_classes(parts):
    train, test = folder_splits(parts)
    assert train.classes == test.classes == ("a", "b")
    assert len(train) == 4 and values(test) == [50] and test.labels.tolist() == [1]


def test_parts_are_not_mistaken_for_classes(parts):
    with pytest.raises(DataError, match="use folder_splits"):
        ImageFolder(parts)


def test_test_classes_must_be_training_classes(parts):
    save(parts / "test/zebra/z.png")
    with pytest.raises(DataError, match="labels are missing from the training part: zebra"):
        folder_splits(parts)


def test_parts_of_different_sizes(parts):
    save(parts / "test/b/t.png", shape=(8, 8, 3))
    with pytest.raises(DataError, match="give size="):
        folder_splits(parts)
    assert folder_splits(parts, size=4)[1].images.shape == (1, 3, 4, 4)


def test_without_parts_a_share_is_held_out(root, parts):
    with pytest.raises(DataError, match="found neither"):
        folder_splits(root)
    train, test = folder_splits(root, held_out=0.5, seed=1)
    assert sorted(values(train) + values(test)) == [0, 10, 20, 30]
    assert sorted(test.labels) == [0, 1]
    shutil.rmtree(parts / "test")
    with pytest.raises(DataError, match="found train"):
        folder_splits(parts, held_out=0.5)
    for path in [*root.rglob("*.png")]:
        shutil.copy(path, path.with_name(f"copy of {path.name}"))
    with pytest.warns(UserWarning, match="of the test images are also train images"):
        folder_splits(root, held_out=0.5, seed=1)


def test_without_opencv_nothing_is_skipped(root, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(DataError, match="pip install opencv-python-headless"):
        ImageFolder(root, skip_bad=True)


@pytest.mark.skipif(not CIFAR.is_dir(), reason=f"{CIFAR} is missing")
def test_real_photographs(tmp_path):
    assert [len(list((CIFAR / part).glob("*/*.jpg"))) for part in ("train", "test")] == [
        10000,
        2000,
    ]
    for part, count in (("train", 12), ("test", 5)):
        for name in ("cat", "ship"):
            (tmp_path / part / name).mkdir(parents=True)
            for path in sorted((CIFAR / part / name).iterdir())[:count]:
                shutil.copy(path, tmp_path / part / name)
    train, test = folder_splits(tmp_path)
    assert train.images.shape == (24, 3, 32, 32) and test.images.shape == (10, 3, 32, 32)
    assert train.classes == ("cat", "ship") and 0.3 < train.images.mean() < 0.6


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda data: pickle.loads(pickle.dumps(data))])
def test_copies_of_a_folder(root, copied):
    data = ImageFolder(root)
    again = copied(data)
    assert again.paths == data.paths and repr(again) == repr(data)
    np.testing.assert_array_equal(again.images, data.images)
