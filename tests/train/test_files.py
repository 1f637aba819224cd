import os

import numpy as np
import pytest

from minidl import files
from minidl.errors import CheckpointError
from minidl.train.arrays_file import read_arrays, write_arrays

ARRAYS = {
    "a": np.arange(6, dtype=np.float32).reshape(2, 3).T,  # Fortran order
    "scalar": np.array(2.5),
    "empty": np.zeros((0, 3)),
    "whole": np.array([2**62, -1]),
}


def test_arrays_and_state_come_back(tmp_path):
    state = {"x": [1, None, "é", 2**100]}
    write_arrays(tmp_path / "new" / "f", ARRAYS, state)
    arrays, found = read_arrays(tmp_path / "new" / "f")
    assert found == state
    assert sorted(arrays) == sorted(ARRAYS)
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(arrays[name], array)


def test_arrays_of_another_byte_order_come_back(tmp_path):
    write_arrays(tmp_path / "f", {"a": np.array([1.5, -2], ">f8"), "n": np.array([3], ">i4")})
    arrays, _ = read_arrays(tmp_path / "f")
    assert {name: array.tolist() for name, array in arrays.items()} == {"a": [1.5, -2], "n": [3]}


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("__metadata__", np.zeros(1)),
        ("c", np.zeros(1, "c8")),
        ("g", np.zeros(1, np.longdouble)),
        ("u", np.array(["a"])),
    ],
)
def test_what_could_not_be_read_is_not_written(tmp_path, name, array):
    with pytest.raises(CheckpointError, match=f"cannot write .*got '{name}' of {array.dtype}"):
        write_arrays(tmp_path / "f", {name: array})
    assert not (tmp_path / "f").exists()


def test_every_flipped_byte_is_noticed(tmp_path):
    path = tmp_path / "f"
    write_arrays(path, ARRAYS, {"step": 7})
    whole = path.read_bytes()
    silent = []
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x15]) + whole[at + 1 :])
        try:
            arrays, state = read_arrays(path)
        except CheckpointError:
            continue
        # A flip in the word "minidl" makes it a file from elsewhere, which has no state.
        same = all(np.array_equal(arrays[n], a) for n, a in ARRAYS.items())
        if not (same and state in ({"step": 7}, None)):
            silent.append(at)
    assert not silent


@pytest.mark.parametrize("length", [0, 4, 8, 60, -1])
def test_a_cut_file_is_damaged(tmp_path, length):
    path = tmp_path / "f"
    write_arrays(path, ARRAYS)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(CheckpointError, match="damaged"):
        read_arrays(path)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(CheckpointError, match="no such file"):
        read_arrays(tmp_path / "none")
    with pytest.raises(CheckpointError, match="cannot read"):
        read_arrays(tmp_path)


def test_a_kill_while_writing_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "f"
    files.write_bytes(path, b"old")

    def killed(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", killed)
    with pytest.raises(KeyboardInterrupt):
        files.write_bytes(path, b"new and longer")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["f"]


def test_a_full_disk_is_named(tmp_path, monkeypatch):
    path = tmp_path / "f"
    files.write_bytes(path, b"old")

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match="No space left on device; free some space"):
        files.write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["f"]


def test_append_text(tmp_path):
    files.append_text(tmp_path / "f", "a\n")
    files.append_text(tmp_path / "f", "b\n")
    assert (tmp_path / "f").read_text() == "a\nb\n"
    with pytest.raises(CheckpointError, match="cannot write"):
        files.append_text(tmp_path / "no" / "f", "a")


def test_permissions_follow_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        files.write_bytes(tmp_path / "f", b"")
    finally:
        os.umask(before)
    if os.name == "posix":
        assert (tmp_path / "f").stat().st_mode & 0o777 == 0o640
