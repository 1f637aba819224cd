"""Headers written by hand: the sizes, and the reasons for a refusal."""

import struct

import pytest

from minidl.data.header import read_header

JPEG_FRAME = b"\xff\xc0" + struct.pack(">HBHH", 11, 8, 3, 5) + bytes(4)


@pytest.mark.parametrize(
    "data, expected",
    [
        (b"GIF89a" + struct.pack("<HH", 5, 3), ("GIF", 3, 5)),
        (b"BM" + bytes(12) + struct.pack("<IHH", 12, 5, 3), ("BMP", 3, 5)),
        (b"BM" + bytes(12) + struct.pack("<Iii", 40, 5, -3), ("BMP", 3, 5)),
        (
            b"RIFF" + struct.pack("<I", 22) + b"WEBPVP8X" + bytes(8) + b"\4\0\0\2\0\0",
            ("WebP", 3, 5),
        ),
        (
            b"MM\0*" + struct.pack(">IH", 8, 2)
            + struct.pack(">HHIHH", 256, 3, 1, 5, 0) + struct.pack(">HHII", 257, 4, 1, 3),
            ("TIFF", 3, 5),
        ),
        (b"\xff\xd8" + JPEG_FRAME + b"\xff\xd9", ("JPEG", 3, 5)),
        (b"\xff\xd8" + JPEG_FRAME + b"\xff\xda\0\2 scan \xff\0 \xff\xd0 \xff\xd9", ("JPEG", 3, 5)),
    ],
)  # fmt: skip
def test_sizes(data, expected):
    assert read_header(data)[:3] == expected


@pytest.mark.parametrize(
    "data, reason",
    [
        (b"", "known format"),
        (b"%PDF-1.7", "known format .* starts with b'%PDF-1.7'"),
        (b"\xff\xd8" + JPEG_FRAME, "no end-of-image marker"),
        (b"\xff\xd8" + JPEG_FRAME + b"\xff\xda\0\2 scan \xff\0 \xff\xd0", "no end-of-image marker"),
        (b"\xff\xd8\xff\xd9", "no frame header"),
        (b"\xff\xd8\xff\xc0\0", "cut short or damaged"),
        (b"GIF89a\0\0\0\0", "it says 0x0 pixels"),
        (b"GIF89a\0", "cut short or damaged"),
        (b"\x89PNG\r\n\x1a\n", "cut short or damaged"),
        (b"RIFF\xff\0\0\0WEBPVP8L", "cut short: 16 of 263 bytes"),
        (b"II*\0\x08\0\0\0\0\0", "it says 0x0 pixels"),
    ],
)
def test_refusals(data, reason):
    with pytest.raises(ValueError, match=reason):
        read_header(data)
