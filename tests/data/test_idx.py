"""read_idx: exact on what is whole, DataError on everything else."""

import gzip
import struct

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from minidl.data import read_idx
from minidl.errors import DataError, MinidlError

VALUES = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)


def idx(array):
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


WHOLE = idx(VALUES)
ZIPPED = gzip.compress(WHOLE, mtime=0)


def read(folder, data):
    path = folder / "file"
    path.write_bytes(data)
    return read_idx(path)


@pytest.mark.parametrize("data", [WHOLE, ZIPPED])
def test_reads_plain_and_compressed_whatever_the_name(tmp_path, data):
    array = read(tmp_path, data)
    assert array.dtype == np.uint8
    np.testing.assert_array_equal(array, VALUES)


def test_reads_no_values(tmp_path):
    assert read(tmp_path, idx(np.empty(0, np.uint8))).shape == (0,)


@pytest.mark.parametrize(
    "data, reason",
    [
        (b"", "starts with b''"),
        (b"\x89PNG....", "two zero bytes"),
        (WHOLE[:-1], "24 values, and 23 follow"),
        (WHOLE + b"\0", "24 values, and more follow"),
        (WHOLE[:10], "3 dimensions is cut short"),
        (b"\0\0\x0d\1\0\0\0\0", "type 0x0d"),
        (b"\0\0\x08\0", "0 dimensions"),
        (b"\0\0\x08\x09" + bytes(36), "9 dimensions"),
        (b"\0\0\x08\3" + b"\xff" * 12, "more than"),
        (ZIPPED[:-6], "gzip compression is damaged or cut short"),
        (ZIPPED[:20] + b"\xff\xff" + ZIPPED[22:], "gzip compression is damaged"),
        (ZIPPED[:-8] + b"\0\0\0\0" + ZIPPED[-4:], "gzip compression is damaged"),
        (ZIPPED + b"tail", "gzip compression is damaged"),
        (gzip.compress(WHOLE + bytes(10), mtime=0), "more follow"),
    ],
)
def test_refusals(tmp_path, data, reason):
    with pytest.raises(DataError, match=reason) as caught:
        read(tmp_path, data)
    assert "read_idx" in str(caught.value) and caught.value.files[0][0] == str(tmp_path / "file")


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_idx(tmp_path / "nowhere")
    with pytest.raises(DataError, match="cannot be read"):
        read_idx(tmp_path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


@settings(deadline=None)
@given(
    data=st.binary(max_size=100) | st.binary(max_size=60).map(lambda rest: b"\0\0\x08" + rest),
    zipped=st.booleans(),
)
@example(data=b"\0\0\x08\2\0\1\0\0\0\0\x80\0", zipped=True)
def test_fuzz_any_bytes(folder, data, zipped):
    try:
        array = read(folder, gzip.compress(data, mtime=0) if zipped else data)
    except MinidlError:
        return
    assert idx(array) == data


@settings(deadline=None)
@given(
    data=st.sampled_from([WHOLE, ZIPPED]),
    flips=st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 255)), max_size=4),
    keep=st.floats(0, 1) | st.just(1.0),
)
def test_fuzz_flipped_and_cut_files(folder, data, flips, keep):
    changed = bytearray(data)
    for place, bits in flips:
        changed[place % len(changed)] ^= bits
    cut = bytes(changed[: round(keep * len(changed))])
    try:
        array = read(folder, cut)
    except MinidlError:
        return
    assert idx(array) == (gzip.decompress(cut) if cut[:2] == ZIPPED[:2] else cut)
