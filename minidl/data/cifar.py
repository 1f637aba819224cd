"""CIFAR-10, from its binary version, from a folder of class folders, or downloaded once."""

import gzip
import os
import tarfile
import zlib
from pathlib import Path

import numpy as np

from ..errors import DataError
from ..files import kind_of, read_file
from .dataset import Dataset
from .download import Remote, cache_folder, fetch
from .folders import folder_splits
from .parts import find_parts
from .transforms import scale

_CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
_ARCHIVE = Remote(
    "cifar-10-binary.tar.gz",
    170_052_171,
    "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
)
_MIRRORS = ("https://www.cs.toronto.edu/~kriz/", "https://cave.cs.toronto.edu/kriz/")
_INNER = "cifar-10-batches-bin"
_TRAIN = [f"data_batch_{i}.bin" for i in range(1, 6)]
_TEST = ["test_batch.bin"]
_RECORD = 1 + 3 * 32 * 32  # a label, then the red, green and blue planes
_MAX_BYTES = 2**31
_CHUNK = 2**20


def cifar10(root: str | os.PathLike[str] | None = None) -> tuple[Dataset, Dataset]:
    """CIFAR-10's small colour photographs: (train, test), 50,000 and 10,000 when downloaded.

    `root` is a folder with the binary version (data_batch_1.bin to data_batch_5.bin and
    test_batch.bin, or cifar-10-binary.tar.gz), or with class folders of images in train/ and
    test/. Without it the archive is downloaded into the cache folder ($MINIDL_CACHE or
    ~/.cache/minidl). The Python version is not read: unpickling can run any code.
    Shapes: images (N, 3, 32, 32) float32 in [0, 1], RGB; labels (N,).
    Raises: DataError if a file is missing or damaged, or if no mirror has it.
    Source: Krizhevsky, "Learning multiple layers of features from tiny images" (2009).
    """
    if root is None:
        return _load(_from_archive(fetch(_ARCHIVE, _MIRRORS, cache_folder() / "cifar-10")))
    folder = Path(root)
    for place in (folder, folder / _INNER):
        if any(kind_of(place / name) == "file" for name in _TRAIN + _TEST):
            return _load(_from_folder(place))
    if kind_of(folder / _ARCHIVE.name) == "file":
        return _load(_from_archive(folder / _ARCHIVE.name))
    if kind_of(folder) == "folder" and find_parts(folder):
        train, test = folder_splits(folder, size=32, classes=_CLASSES)
        train.name = test.name = "cifar10"
        return train, test
    pickled = (folder / "data_batch_1").exists() or (folder / "cifar-10-batches-py").exists()
    raise DataError(
        f"cifar10: expected {_TRAIN[0]} ... {_TEST[0]}, {_ARCHIVE.name}, or train/ and test/ "
        f"folders of class folders in {str(folder)!r}, but found "
        + ("the Python version, which could run any code when it is read" if pickled else "none")
        + "; get the binary version, or leave root out to download it"
    )


def _from_folder(folder: Path) -> dict[str, bytes]:
    batches = {}
    for name in _TRAIN + _TEST:
        try:
            batches[name] = read_file(folder / name, _MAX_BYTES)
        except ValueError as error:
            raise _unreadable(folder / name, str(error)) from None
    return batches


def _from_archive(path: Path) -> dict[str, bytes]:
    """The batches, read straight from the archive: nothing is unpacked to the disk."""
    batches = {}
    try:
        with gzip.open(path) as content, tarfile.open(fileobj=content) as archive:
            for member in archive:
                name = Path(member.name).name
                # Only plain files: a link may lead back to itself.
                wanted = name in _TRAIN + _TEST and member.isreg() and member.size <= _MAX_BYTES
                if wanted and (file := archive.extractfile(member)):
                    if name in batches:
                        raise _unreadable(path, f"the archive holds {name} twice")
                    batches[name] = file.read()
            while content.read(_CHUNK):  # the checksum stands at the end, where tarfile stops short
                pass
    # tarfile takes the numbers of a header as they are: ValueError, OverflowError.
    except (
        OSError,
        EOFError,
        KeyError,
        ValueError,
        OverflowError,
        tarfile.TarError,
        zlib.error,
    ) as error:
        raise _unreadable(path, f"the archive is damaged or cut short ({error})") from None
    except MemoryError:
        raise _unreadable(path, "its content does not fit into the free memory") from None
    return batches


def _load(batches: dict[str, bytes]) -> tuple[Dataset, Dataset]:
    for name in _TRAIN + _TEST:
        if name not in batches:
            raise _unreadable(Path(name), "it is missing")
        size = len(batches[name])
        if size == 0 or size % _RECORD:
            raise _unreadable(Path(name), f"its {size:,} bytes are not whole records of {_RECORD}")
    train, test = (
        np.concatenate(
            [np.frombuffer(batches[name], np.uint8).reshape(-1, _RECORD) for name in names]
        )
        for names in (_TRAIN, _TEST)
    )
    return _part(train), _part(test)


def _part(records: np.ndarray) -> Dataset:
    images = scale(records[:, 1:]).reshape(-1, 3, 32, 32)
    return Dataset(images, records[:, 0], _CLASSES, "cifar10")


def _unreadable(path: Path, reason: str) -> DataError:
    return DataError(
        f"cifar10: expected a batch of CIFAR-10's binary version in {str(path)!r}, but {reason}; "
        "fetch cifar-10-binary.tar.gz again, or leave root out to download it",
        files=[(str(path), reason)],
    )
