"""Files cut short and bytes flipped: a clear error, or nothing lost; never silently wrong."""

import gzip
import json
import random
import struct

import numpy as np
import pytest

from minidl import nn
from minidl.data import ImageFolder, cifar10, mnist
from minidl.errors import CheckpointError, MinidlError
from minidl.train import Checkpoints, load, save
from minidl.train.arrays_file import read_arrays
from tests.data.test_cifar import batches, write_archive, write_folder
from tests.data.test_idx import idx
from tests.faults.amount import amount
from tests.faults.bytes import IMAGES
from tests.train.conftest import make_model, make_trainer, run


def write_mnist(folder):
    rng = np.random.default_rng(0)
    for part, count in (("train", 6), ("t10k", 4)):
        images = idx(rng.integers(0, 256, (count, 28, 28), np.uint8))
        labels = idx(np.arange(count, dtype=np.uint8))
        (folder / f"{part}-images-idx3-ubyte").write_bytes(images)
        (folder / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels, mtime=0))


def write_images(folder):
    for name in ("cats", "dogs"):
        (folder / name).mkdir()
        for end, content in IMAGES.items():
            (folder / name / f"x.{end}").write_bytes(content)


def read_images(folder):
    whole = ImageFolder(folder, size=8)
    return whole, whole


DATA = {
    "mnist": (write_mnist, mnist),
    "cifar10": (lambda folder: write_folder(folder, batches()), cifar10),
    "cifar10 archive": (
        lambda folder: write_archive(folder / "cifar-10-binary.tar.gz", batches()),
        cifar10,
    ),
    "images": (write_images, read_images),
}


def made(name, folder):
    """A data set in the folder: (its files, how it is read, what is read)."""
    write, read = DATA[name]
    write(folder)
    return sorted(p for p in folder.rglob("*") if p.is_file()), read, read(folder)


def differing(found, expected):
    """How many values differ between two pairs of data sets."""
    count = 0
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.images.shape == theirs.images.shape
        assert ours.images.min() >= 0 and ours.images.max() <= 1
        count += int((ours.images != theirs.images).sum() + (ours.labels != theirs.labels).sum())
    return count


@pytest.mark.parametrize("name", DATA)
def test_every_file_of_a_data_set_cut_short(tmp_path, name):
    files, read, expected = made(name, tmp_path)
    rng = random.Random(0)
    refused = 0
    for path in files:
        content = path.read_bytes()
        # Half of the lengths lie near the end, where a reader is most easily satisfied.
        for trial in range(amount(4, 200)):
            least = 0 if trial % 2 else max(0, len(content) - 30)
            path.write_bytes(content[: rng.randrange(least, len(content))])
            try:
                assert not differing(read(tmp_path), expected), f"{path}: silently wrong"
            except MinidlError as error:
                refused += 1
                # The archive's members and the class folders have no path of their own.
                assert path.name in str(error) or path.parent.name in str(error), str(error)
        path.write_bytes(content)
    assert refused > len(files)


@pytest.mark.parametrize("name", DATA)
def test_flipped_bytes_of_a_data_set(tmp_path, name):
    files, read, expected = made(name, tmp_path)
    rng = random.Random(1)
    for path in files:
        content = path.read_bytes()
        for trial in range(amount(4, 300)):
            at = rng.randrange(len(content) if trial % 2 else min(len(content), 40))
            path.write_bytes(flipped(content, at, rng.randint(1, 255)))
            try:
                found = read(tmp_path)
            except MinidlError:
                continue
            changed = differing(found, expected)
            if name != "images":  # there one flip changes as many pixels as the format spreads it
                # Plain bytes carry no checksum: one value is another one. The rest do.
                assert changed <= (path.suffix in (".bin", "")), path.name
        path.write_bytes(content)


def flipped(content, at, bits):
    return content[:at] + bytes([content[at] ^ bits]) + content[at + 1 :]


def damaged(content, rng):
    """A byte flipped, a sector of zeros or of noise, the end cut off, or some bytes gone."""
    at, length = rng.randrange(len(content)), rng.randint(1, 512)
    return rng.choice(
        [
            flipped(content, at, rng.randint(1, 255)),
            content[:at] + bytes(min(length, len(content) - at)) + content[at + length :],
            content[:at] + rng.randbytes(length) + content[at + length :],
            content[:at],
            content[:at] + content[at + length :],
        ]
    )


def test_damaged_weights_are_never_loaded(tmp_path):
    path = tmp_path / "m.safetensors"
    save(path, make_model())
    content, rng, refused = path.read_bytes(), random.Random(2), 0
    expected = read_arrays(path)[0]
    for _ in range(amount(150, 5000)):
        path.write_bytes(damaged(content, rng))
        model = make_model()
        before = model.state_dict()
        try:
            load(path, model)
        except CheckpointError:
            refused += 1
            wanted = before
        else:
            wanted = expected
        for key, array in model.state_dict().items():
            np.testing.assert_array_equal(array, wanted[key])
    assert refused > 100


def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path):
    run(make_trainer(), tmp_path, epochs=1)
    checkpoints, rng, refused = Checkpoints(tmp_path / "checkpoint"), random.Random(3), 0
    newest, before, *_ = checkpoints.paths()
    wanted = [read_arrays(path) for path in (newest, before)]
    content = newest.read_bytes()
    for _ in range(amount(200, 5000)):
        newest.write_bytes(damaged(content, rng))
        arrays, state, said = checkpoints.newest()
        assert bool(said) == (state != wanted[0][1])
        refused += bool(said)
        theirs, their_state = wanted[bool(said)]
        assert state == their_state and list(arrays) == list(theirs)
        assert all(np.array_equal(arrays[n], theirs[n]) for n in arrays)
    assert refused > 150


def test_weights_that_lie_are_refused(tmp_path):
    """Files that are whole, with huge, negative and overlapping places, and odd types."""
    model, path = nn.Dense(2, 1, bias=False), tmp_path / "m"
    good = {"dtype": "F32", "shape": [1, 2], "data_offsets": [0, 8]}
    liars = [
        {"weight": good | {"data_offsets": [0, 99]}},
        {"weight": good | {"shape": [2**32, 2**32]}},
        {"weight": good | {"shape": [-1, 2]}},
        {"weight": good | {"dtype": "F8_E4M3"}},
        {"weight": good, "bias": good},
        {"__metadata__": {"minidl": "{}"}, "weight": good},
        [],
        {},
        "x",
    ]
    texts = [json.dumps(liar).encode() for liar in liars]
    files = [struct.pack("<Q", len(text)) + text for text in texts]
    for content in (*files, struct.pack("<Q", 2**63) + b"{}"):
        path.write_bytes(content + bytes(8))
        with pytest.raises(CheckpointError, match="m'"):
            load(path, model)
