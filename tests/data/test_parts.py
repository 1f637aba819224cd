"""Which folders are parts, which are classes, and which are neither."""

import os

import cv2
import numpy as np
import pytest

from minidl.data import ImageFolder, folder_parts, folder_splits
from minidl.data.parts import find_parts, part_name
from minidl.errors import DataError


def save(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.full((5, 6, 3), value, np.uint8)
    image[0, 0] = 255 - value
    cv2.imwrite(str(path), image)
    return path


def fill(folder, start, classes=("kite", "owl")):
    """Two images for each class, unlike all others."""
    for k, name in enumerate(classes):
        for i in range(2):
            save(folder / name / f"{i}.png", start + 10 * k + i)


def values(data):
    return None if data is None else (data.images[:, 0, 1, 1] * 255).round().astype(int).tolist()


@pytest.mark.parametrize(
    ("name", "part"),
    [
        *((n, "train") for n in ("train", "TRAIN", "Training", "train_set", "TrainImages",
          "trainset", "seg_train", "01-train", "train2019", "my.training.data", "training_split")),
        *((n, "validation") for n in ("val", "Valid", "validation", "dev", "val2017", "DEV_SET",
          "ValidationSet", "seg_val", "development")),
        *((n, "test") for n in ("test", "Testing", "test_set", "TestImages", "testset", "seg_test",
          "tests", "02 test")),
        *((n, None) for n in ("trainer", "contest", "value", "device", "valley",
          "train_val", "greatest", "labels", "owl", "")),
    ],
)  # fmt: skip
def test_a_part_is_named_in_any_usual_spelling(name, part):
    assert part_name(name) == part


@pytest.mark.parametrize(
    "names", [("Train", "Val", "Test"), ("seg_train", "seg_dev", "seg_test"),
              ("training_data", "VALIDATION", "testing")]
)  # fmt: skip
def test_three_parts_are_three_things(tmp_path, names):
    for start, name in zip((10, 90, 170), names, strict=True):
        fill(tmp_path / name, start)
    parts = folder_parts(tmp_path)
    assert [values(part) for part in parts[:3]] == [
        [start, start + 1, start + 10, start + 11] for start in (10, 90, 170)
    ]
    assert parts.notes == () and parts.test.classes == ("kite", "owl")
    train, test = folder_splits(tmp_path)
    assert values(train)[0] == 10 and values(test)[0] == 170
    with pytest.raises(DataError, match="look like parts"):
        ImageFolder(tmp_path)


def test_training_and_validation_alone(tmp_path):
    fill(tmp_path / "train", 10)
    fill(tmp_path / "val", 90)
    parts = folder_parts(tmp_path)
    assert values(parts.validation) == [90, 91, 100, 101] and parts.test is None
    with pytest.raises(DataError, match=r"found train, validation; .* folder_parts"):
        folder_splits(tmp_path, held_out=0.5)


def test_a_training_part_alone_is_all_there_is(tmp_path):
    fill(tmp_path / "Train", 10)
    parts = folder_parts(tmp_path)
    assert values(parts.train) == [10, 11, 20, 21] and parts[1:3] == (None, None)


def test_a_test_part_alone_is_refused(tmp_path):
    fill(tmp_path / "Test", 10)
    with pytest.raises(DataError, match=r"expected a training part .* found only Test"):
        folder_parts(tmp_path)


def test_classes_may_be_called_like_parts(tmp_path):
    """Vehicles: a train is a class where its folder holds images itself."""
    fill(tmp_path, 10, ("bus", "train", "test"))
    assert ImageFolder(tmp_path).classes == ("bus", "test", "train")
    assert folder_parts(tmp_path).test is None


def test_folders_that_hold_the_same_folders_are_no_classes(tmp_path):
    """Parts in a language that nobody has listed are told from what they hold."""
    for start, name in ((10, "Übung"), (90, "Prüfung")):
        fill(tmp_path / name, start)
    with pytest.raises(DataError, match=r"all hold the same folders \(kite, owl\)"):
        ImageFolder(tmp_path)
    assert ImageFolder(tmp_path, classes=["Prüfung", "Übung"]).labels.tolist() == [0] * 4 + [1] * 4


def test_classes_may_hold_folders_of_their_own(tmp_path):
    fill(tmp_path / "cats", 10, ("persian", "siamese"))
    fill(tmp_path / "dogs", 90, ("pug", "terrier"))
    assert ImageFolder(tmp_path).classes == ("cats", "dogs")


def test_two_folders_for_one_part(tmp_path):
    fill(tmp_path / "train", 10)
    fill(tmp_path / "training_set", 90)
    with pytest.raises(DataError, match="both 'train' and 'training_set' look like it"):
        folder_parts(tmp_path)


def test_a_part_inside_a_folder_of_its_name(tmp_path):
    """As some archives unpack: seg_train/seg_train/CLASS."""
    for start, name in ((10, "seg_train"), (90, "seg_test")):
        fill(tmp_path / name / name, start)
    parts = folder_parts(tmp_path)
    assert values(parts.train)[0] == 10 and values(parts.test)[0] == 90


@pytest.mark.parametrize(
    "name",
    [
        *("@eaDir", ".thumbnails", "__MACOSX", ".ipynb_checkpoints", "$RECYCLE.BIN", ".git"),
        "System Volume Information",
    ],
)
def test_folders_of_the_system_are_no_classes(tmp_path, name):
    fill(tmp_path / "train", 10)
    fill(tmp_path / "valid", 90)
    for place in (tmp_path, tmp_path / "train", tmp_path / "train" / "owl"):
        save(place / name / "0.png", 200)
    parts = folder_parts(tmp_path)
    assert parts.train.classes == ("kite", "owl") and len(parts.train) == 4
    assert parts.notes == () and list(find_parts(tmp_path)) == ["train", "validation"]


def test_signs_at_the_start_of_a_name_hide_nothing(tmp_path):
    for value, name in enumerate(("$1", "$5", "@home")):
        save(tmp_path / name / f"{name}.png", value)
    data = ImageFolder(tmp_path)
    assert data.classes == ("$1", "$5", "@home") and values(data) == [0, 1, 2]


def test_folders_beside_the_parts_are_named_if_they_hold_images(tmp_path):
    fill(tmp_path / "train", 10)
    fill(tmp_path / "test", 90)
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("no image")
    assert folder_parts(tmp_path).notes == ()
    save(tmp_path / "pred" / "7.png", 5)
    (note,) = folder_parts(tmp_path).notes
    assert note.startswith("not read: pred (a part holds class folders")
    with pytest.warns(UserWarning, match="not read: pred"):
        folder_splits(tmp_path)


def test_the_same_image_in_two_parts_is_said(tmp_path):
    fill(tmp_path / "train", 10)
    fill(tmp_path / "val", 90)
    fill(tmp_path / "test", 170)
    whole = (tmp_path / "train" / "owl" / "1.png").read_bytes()
    (tmp_path / "test" / "kite" / "renamed.png").write_bytes(whole)
    (note,) = folder_parts(tmp_path).notes
    assert note.startswith("1 of the test images are also train images") and "renamed.png" in note
    (tmp_path / "test" / "owl" / "once more.png").write_bytes(whole)
    (note,) = folder_parts(tmp_path).notes
    assert note.startswith("2 of the test images are also train images")


def test_equal_pixels_of_unlike_files_are_not_the_same_image(tmp_path):
    fill(tmp_path / "train", 10)
    fill(tmp_path / "test", 90)
    for part, side in (("train", 8), ("test", 16)):
        cv2.imwrite(str(tmp_path / part / "owl" / "black.png"), np.zeros((side, side, 3), np.uint8))
    assert folder_parts(tmp_path, size=4).notes == ()


def test_the_parts_have_images_of_one_size(tmp_path):
    fill(tmp_path / "train", 10)
    fill(tmp_path / "dev", 90)
    cv2.imwrite(str(tmp_path / "dev/owl/0.png"), np.zeros((9, 9, 3), np.uint8))
    cv2.imwrite(str(tmp_path / "dev/owl/1.png"), np.zeros((9, 9, 3), np.uint8))
    for name in ("0", "1"):
        cv2.imwrite(str(tmp_path / f"dev/kite/{name}.png"), np.zeros((9, 9, 3), np.uint8))
    with pytest.raises(DataError, match=r"give size=.*\(3, 5, 6\) in train and \(3, 9, 9\)"):
        folder_parts(tmp_path)


def test_the_useful_line_comes_first_where_sizes_differ(tmp_path):
    fill(tmp_path, 10)
    for i in range(30):
        cv2.imwrite(str(tmp_path / f"owl/big{i}.png"), np.zeros((9, 9 + i, 3), np.uint8))
    with pytest.raises(DataError) as caught:
        ImageFolder(tmp_path)
    assert "give size=(height, width), or --size" in str(caught.value).splitlines()[0]


def test_folders_a_thousand_deep(tmp_path):
    fill(tmp_path, 10)
    here = os.getcwd()
    os.chdir(tmp_path / "kite")
    try:
        for _ in range(1200):
            os.mkdir("d")
            os.chdir("d")
    finally:
        os.chdir(here)
    try:
        assert len(ImageFolder(tmp_path)) == 4
        assert find_parts(tmp_path) == {}
    finally:
        folder = str(tmp_path / "kite")
        names = [folder + "/d" * i for i in range(1200, 0, -1)]
        for name in names:
            os.rmdir(name)


def test_a_folder_that_links_to_itself_is_named(tmp_path):
    fill(tmp_path, 10)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "owl" / "up").symlink_to(tmp_path)
    assert find_parts(tmp_path) == {}
    with pytest.raises(DataError, match="a symbolic link to a folder") as caught:
        ImageFolder(tmp_path)
    assert [os.path.basename(path) for path, _ in caught.value.files] == ["up"]
    with pytest.raises(DataError, match="cannot be read"):
        ImageFolder(tmp_path / "loop")


def test_a_named_pipe_among_the_images_is_named(tmp_path):
    fill(tmp_path, 10)
    os.mkfifo(tmp_path / "owl" / "pipe.png")
    with pytest.raises(DataError, match=r"pipe\.png: it is not a regular file"):
        ImageFolder(tmp_path)


def test_a_test_folder_without_classes_is_no_part_and_is_named(tmp_path):
    """As competitions hand out their test images."""
    fill(tmp_path / "train", 10)
    save(tmp_path / "test" / "1.png", 90)
    parts = folder_parts(tmp_path)
    assert parts.test is None and parts.notes[0].startswith("not read: test")


def test_a_part_that_may_not_be_read_is_not_passed_over(tmp_path, monkeypatch):
    fill(tmp_path / "train", 10)
    fill(tmp_path / "test", 90)
    real = os.scandir

    def refuse(path):
        if os.path.basename(path) == "test":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=r"test' cannot be read|test.*cannot be read: Permission"):
        folder_parts(tmp_path)
