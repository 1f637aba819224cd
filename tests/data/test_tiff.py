"""The strips of TIFF files: how long they are when decoded, and which cannot be decoded."""

import io
import struct

import cv2
import numpy as np
import pytest
from PIL import Image

from minidl.data.tiff import HEIGHT, WIDTH, Directory, lzw_length

SHAPES = [(1, 1), (3, 5), (40, 60), (200, 333)]
RNG = np.random.default_rng(0)
PICTURES = {
    "noise": lambda shape: RNG.integers(0, 256, shape, np.uint8),
    "one colour": lambda shape: np.full(shape, 7, np.uint8),
    "a slope": lambda shape: np.add.outer(*map(np.arange, shape)).astype(np.uint8),
    "few colours": lambda shape: RNG.integers(0, 3, shape, np.uint8),
}


def by_opencv(image):
    return cv2.imencode(".tif", image, [cv2.IMWRITE_TIFF_COMPRESSION, 5])[1].tobytes()


def by_pillow(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "TIFF", compression="tiff_lzw")
    return file.getvalue()


@pytest.mark.parametrize("encode", [by_opencv, by_pillow])
@pytest.mark.parametrize("picture", PICTURES)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_length_of_lzw_codes(encode, picture, shape):
    data = encode(PICTURES[picture](shape))
    strips = Directory(data)._strips(data, 8)
    assert sum(lzw_length(strip) for strip, _, _ in strips) == shape[0] * shape[1]
    for strip, _, least in strips:
        assert lzw_length(strip[: len(strip) // 2]) < least


def packed(*codes, width=9):
    bits = "".join(f"{code:0{width}b}" for code in codes)
    return int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")


def test_codes_by_hand():
    """Entry 258 is "ab", and 259 may be named by the code that completes it ("aba")."""
    a, b = 97, 98
    assert lzw_length(packed(256, a, b, 258, 257)) == 4
    assert lzw_length(packed(256, a, b, 258, 260, 257)) == 1 + 1 + 2 + 3
    assert lzw_length(packed(256, a, b, 256, a, 257)) == 3
    assert lzw_length(packed(256, 257, a)) == 0
    assert lzw_length(b"") == 0
    for codes in ((256, 258), (256, a, 259), (256, a, b, 258, 261)):
        with pytest.raises(ValueError, match="not in the table yet"):
            lzw_length(packed(*codes))


def test_a_directory_in_both_orders():
    for order, magic in (("<", b"II*\0"), (">", b"MM\0*")):
        entries = [(WIDTH, 3, 1, struct.pack(order + "HH", 5, 0)),
                   (HEIGHT, 4, 1, struct.pack(order + "I", 3)),
                   (999, 12, 1, bytes(4))]  # fmt: skip
        body = b"".join(struct.pack(order + "HHI", *entry[:3]) + entry[3] for entry in entries)
        tags = Directory(magic + struct.pack(order + "IH", 8, 3) + body)
        assert (tags.one(WIDTH, 0), tags.one(HEIGHT, 0), tags.one(999, 4)) == (5, 3, 4)
        assert tags.orientation == 1


def test_a_directory_that_asks_for_too_much():
    """The count of a tag's values is not believed: nothing is allocated for it."""
    entry = struct.pack("<HHII", WIDTH, 4, 2**32 - 1, 8)
    with pytest.raises(struct.error):
        Directory(b"II*\0" + struct.pack("<IH", 8, 1) + entry)
