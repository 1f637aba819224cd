import gzip
import hashlib
import importlib
import struct
from pathlib import Path

import numpy as np
import pytest

from minidl.data import fashion_mnist, mnist
from minidl.errors import DataError

module = importlib.import_module("minidl.data.mnist")  # minidl.data.mnist is the function

SHARED = Path(__file__).parents[2] / "../shared/data/mnist10k"


def idx(array):
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def write(folder, counts=(6, 4), **changed):
    rng = np.random.default_rng(0)
    for part, count in zip(("train", "t10k"), counts, strict=True):
        files = {
            f"{part}_images": rng.integers(0, 256, (count, 28, 28), np.uint8),
            f"{part}_labels": (np.arange(count) % 10).astype(np.uint8),
        } | changed
        for kind, number in (("images", 3), ("labels", 1)):
            data = gzip.compress(idx(files[f"{part}_{kind}"]), mtime=0)
            (folder / f"{part}-{kind}-idx{number}-ubyte.gz").write_bytes(data)


def test_reads_a_folder_compressed_or_not(tmp_path):
    write(tmp_path)
    zipped = tmp_path / "train-images-idx3-ubyte.gz"
    raw = gzip.decompress(zipped.read_bytes())
    train, test = mnist(tmp_path)
    assert (len(train), len(test)) == (6, 4)
    assert train.images.shape == (6, 1, 28, 28) and train.images.dtype == np.float32
    pixels = np.frombuffer(raw[16:], np.uint8).reshape(6, 1, 28, 28)
    np.testing.assert_array_equal(train.images, pixels / np.float32(255))
    assert train.labels.tolist() == list(range(6)) and train.classes == tuple("0123456789")
    zipped.unlink()
    (tmp_path / "train-images.idx3-ubyte").write_bytes(raw)
    np.testing.assert_array_equal(mnist(str(tmp_path))[0].images, train.images)


def test_fashion_has_its_own_classes(tmp_path):
    write(tmp_path)
    train, _ = fashion_mnist(tmp_path)
    assert train.name == "fashion-mnist" and train.classes[9] == "Ankle boot"


def test_missing_files_are_all_named(tmp_path):
    write(tmp_path)
    for name in ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"):
        (tmp_path / name).unlink()
    with pytest.raises(DataError, match="no t10k-images-idx3-ubyte, no t10k-labels-idx1-ubyte"):
        mnist(tmp_path)


@pytest.mark.parametrize(
    "changed, reason",
    [
        ({"t10k_labels": np.zeros(5, np.uint8)}, r"\(4, 28, 28\) and the labels .* \(5,\)"),
        ({"train_images": np.zeros((6, 28, 27), np.uint8)}, r"are \(6, 28, 27\)"),
        ({"train_images": np.zeros(6, np.uint8)}, r"are \(6,\)"),
        ({"train_labels": np.full(6, 10, np.uint8)}, "go up to 10"),
        (
            {"t10k_labels": np.zeros(0, np.uint8), "t10k_images": np.zeros((0, 28, 28), np.uint8)},
            "no images",
        ),
    ],
)
def test_files_that_do_not_fit(tmp_path, changed, reason):
    write(tmp_path, **changed)
    with pytest.raises(DataError, match=reason):
        mnist(tmp_path)


@pytest.mark.parametrize("load, sums", [(mnist, "_MNIST"), (fashion_mnist, "_FASHION")])
def test_downloads_into_the_cache(tmp_path, monkeypatch, load, sums):
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    write(mirror)
    found = {}
    for path in mirror.iterdir():
        data = path.read_bytes()
        found[path.name.removesuffix(".gz")] = (len(data), hashlib.sha256(data).hexdigest())
    assert found.keys() == getattr(module, f"{sums}_SUMS").keys()
    monkeypatch.setattr(module, f"{sums}_SUMS", found)
    monkeypatch.setattr(module, f"{sums}_MIRRORS", [mirror.as_uri() + "/"])
    monkeypatch.setenv("MINIDL_CACHE", str(tmp_path / "cache"))
    train, test = load()
    assert (len(train), len(test)) == (6, 4)
    (archive, *_) = archives = sorted((tmp_path / "cache").glob("*/*.gz"))
    assert len(archives) == 4
    # Only the archives' checksums are known, so a file beside them is not read in their place.
    archive.with_suffix("").write_bytes(b"something else")
    np.testing.assert_array_equal(load()[1].images, test.images)


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"{SHARED} is missing")
def test_real_digits():
    train, test = mnist(SHARED)
    assert (len(train), len(test)) == (8000, 2000)
    assert 0.12 < train.images.mean() < 0.14  # MNIST's mean is 0.1307
    assert set(train.labels) == set(test.labels) == set(range(10))
