import hashlib
import importlib
import io
import tarfile

import cv2
import numpy as np
import pytest

from minidl.data import cifar10
from minidl.data.download import Remote
from minidl.errors import DataError

module = importlib.import_module("minidl.data.cifar")

NAMES = [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]


def batches(count=3):
    rng = np.random.default_rng(0)
    records = {name: rng.integers(0, 256, (count, 3073), np.uint8) for name in NAMES}
    for batch in records.values():
        batch[:, 0] %= 10
    return records


def write_folder(folder, records):
    folder.mkdir(parents=True, exist_ok=True)
    for name, batch in records.items():
        (folder / name).write_bytes(bytes(batch))
    return folder


def write_archive(path, records):
    with tarfile.open(path, "w:gz") as archive:
        for name, batch in [*records.items(), ("readme.html", b"hello")]:
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(bytes(batch))
            archive.addfile(member, io.BytesIO(bytes(batch)))
    return path


def check(train, test, records):
    assert train.images.shape == (15, 3, 32, 32) and test.images.shape == (3, 3, 32, 32)
    assert train.images.dtype == np.float32 and train.classes[3] == "cat"
    record = records["data_batch_2.bin"][1]
    assert train.labels[4] == record[0]
    planes = record[1:].reshape(3, 32, 32) / np.float32(255)  # red, green, blue, row by row
    np.testing.assert_array_equal(train.images[4], planes)
    np.testing.assert_array_equal(test.labels, records["test_batch.bin"][:, 0])


@pytest.mark.parametrize("inner", [".", "cifar-10-batches-bin"])
def test_reads_the_binary_version(tmp_path, inner):
    records = batches()
    write_folder(tmp_path / inner, records)
    check(*cifar10(tmp_path), records)


def test_reads_the_archive_without_unpacking_it(tmp_path):
    records = batches()
    write_archive(tmp_path / "cifar-10-binary.tar.gz", records)
    check(*cifar10(tmp_path), records)
    assert len(list(tmp_path.iterdir())) == 1


def test_downloads_into_the_cache(tmp_path, monkeypatch):
    records = batches()
    (tmp_path / "mirror").mkdir()
    data = write_archive(tmp_path / "mirror/cifar-10-binary.tar.gz", records).read_bytes()
    remote = Remote("cifar-10-binary.tar.gz", len(data), hashlib.sha256(data).hexdigest())
    monkeypatch.setattr(module, "_ARCHIVE", remote)
    monkeypatch.setattr(module, "_MIRRORS", [(tmp_path / "mirror").as_uri() + "/"])
    monkeypatch.setenv("MINIDL_CACHE", str(tmp_path / "cache"))
    check(*cifar10(), records)


def test_reads_class_folders(tmp_path):
    for part, names in (("train", ("cat", "ship")), ("test", ("ship",))):
        for name in names:
            (tmp_path / part / name).mkdir(parents=True)
            cv2.imwrite(str(tmp_path / part / name / "0.png"), np.zeros((32, 32, 3), np.uint8))
    with pytest.warns(UserWarning, match="1 of the test images are also train images"):
        train, test = cifar10(tmp_path)
    assert train.labels.tolist() == [3, 8] and test.labels.tolist() == [8]
    assert train.name == "cifar10" and len(test.classes) == 10


@pytest.mark.parametrize(
    "name, data, reason",
    [
        ("data_batch_3.bin", b"", "0 bytes are not whole records"),
        ("test_batch.bin", bytes(3074), "3,074 bytes are not whole records"),
        ("data_batch_1.bin", bytes([10]) + bytes(3072), "labels from 0 to 10"),
    ],
)
def test_damaged_batches(tmp_path, name, data, reason):
    write_folder(tmp_path, batches() | {name: data})
    with pytest.raises(DataError, match=reason):
        cifar10(tmp_path)


def test_missing_batches(tmp_path):
    records = batches()
    del records["data_batch_4.bin"]
    write_folder(tmp_path / "folder", records)
    with pytest.raises(DataError, match=r"data_batch_4\.bin.* no such file"):
        cifar10(tmp_path / "folder")
    write_archive(tmp_path / "cifar-10-binary.tar.gz", records)
    with pytest.raises(DataError, match=r"data_batch_4\.bin.* missing"):
        cifar10(tmp_path)


@pytest.mark.parametrize("keep", [0, 10, 1000, -200])
def test_damaged_archives(tmp_path, keep):
    path = write_archive(tmp_path / "cifar-10-binary.tar.gz", batches())
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"damaged or cut short|missing"):
        cifar10(tmp_path)


def test_other_folders(tmp_path):
    with pytest.raises(DataError, match="but found none; get the binary version"):
        cifar10(tmp_path)
    (tmp_path / "data_batch_1").write_bytes(b"pickled")
    with pytest.raises(DataError, match="Python version, which could run any code"):
        cifar10(tmp_path)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_links_in_an_archive_are_not_followed(tmp_path, kind):
    """A link to itself would be followed for ever."""
    path = tmp_path / "cifar-10-binary.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, data in ((n, bytes(b)) for n, b in batches().items()):
            member = tarfile.TarInfo(f"cifar/{name}")
            member.size = len(data)
            if name == "data_batch_2.bin":
                member.type, member.size, member.linkname = kind, 0, member.name
            archive.addfile(member, io.BytesIO(data))
    with pytest.raises(DataError, match=r"data_batch_2\.bin.*missing"):
        cifar10(tmp_path)


def test_a_batch_that_is_there_twice(tmp_path):
    path = tmp_path / "cifar-10-binary.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for folder in ("a", "b"):
            for name, data in ((n, bytes(b)) for n, b in batches().items()):
                member = tarfile.TarInfo(f"{folder}/{name}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    with pytest.raises(DataError, match=r"holds data_batch_1\.bin twice"):
        cifar10(tmp_path)
