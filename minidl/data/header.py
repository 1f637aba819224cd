"""What an image file says of itself before it is decoded: its format, height and width.

The decoder allocates whatever the header asks for, so the size is read first; and some decoders
fill the missing half of a file that was cut short with grey, so its end is checked too.
"""

import re
import struct
import zlib
from collections.abc import Callable

# Fill bytes and a marker; 00 is a stuffed data byte and D0-D7 are restarts inside a scan.
_JPEG_MARKER = re.compile(rb"\xff+([\x01-\xcf\xd8-\xfe])")
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def read_header(data: bytes) -> tuple[str, int, int]:
    """The format, height and width of an encoded image.

    Raises: ValueError with the reason (unknown format, cut short, damaged).
    """
    for name, signature, parse in _FORMATS:
        if re.match(signature, data, re.DOTALL):
            try:
                height, width = parse(data)
            except (struct.error, IndexError):
                raise ValueError(f"the {name} file is cut short or damaged") from None
            if height < 1 or width < 1:
                raise ValueError(f"the {name} file is damaged: it says {height}x{width} pixels")
            return name, height, width
    known = ", ".join(name for name, _, _ in _FORMATS)
    raise ValueError(f"not an image in a known format ({known}); it starts with {data[:8]!r}")


def _png(data: bytes) -> tuple[int, int]:
    position, view = 8, memoryview(data)
    while True:
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 8 + length
        (checksum,) = struct.unpack_from(">I", data, end)
        critical = not kind[0] & 0x20
        if critical and zlib.crc32(view[position + 4 : end]) != checksum:
            raise ValueError(f"the PNG file is damaged: wrong checksum in its {kind!r} chunk")
        if kind == b"IEND":
            width, height = struct.unpack_from(">II", data, 16)
            return height, width
        position = end + 4


def _jpeg(data: bytes) -> tuple[int, int]:
    position, size = 2, None
    while found := _JPEG_MARKER.search(data, position):
        kind, position = found[1][0], found.end()
        if kind == 0xD9:
            if size is None:
                raise ValueError("the JPEG file is damaged: it has no frame header")
            return size
        if kind in (0x01, 0xD8):
            continue
        (length,) = struct.unpack_from(">H", data, position)
        if kind in _JPEG_FRAMES and size is None:
            size = struct.unpack_from(">HH", data, position + 3)
        position += length
    raise ValueError("the JPEG file is cut short: it has no end-of-image marker")


def _gif(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from("<HH", data, 6)
    return height, width


def _bmp(data: bytes) -> tuple[int, int]:
    (header_size,) = struct.unpack_from("<I", data, 14)
    width, height = struct.unpack_from("<HH" if header_size == 12 else "<ii", data, 18)
    return abs(height), width  # a negative height means that the rows run downwards


def _webp(data: bytes) -> tuple[int, int]:
    (size,) = struct.unpack_from("<I", data, 4)
    if len(data) < size + 8:
        raise ValueError(f"the WebP file is cut short: {len(data)} of {size + 8} bytes")
    kind = data[12:16]
    if kind == b"VP8X":
        width, height = (int.from_bytes(data[i : i + 3], "little") + 1 for i in (24, 27))
    elif kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
    return height, width


def _tiff(data: bytes) -> tuple[int, int]:
    order = "<" if data[:2] == b"II" else ">"
    (directory,) = struct.unpack_from(order + "I", data, 4)
    (entries,) = struct.unpack_from(order + "H", data, directory)
    sides = {256: 0, 257: 0}  # ImageWidth, ImageLength
    for i in range(entries):
        place = directory + 2 + 12 * i
        tag, kind = struct.unpack_from(order + "HH", data, place)
        if tag in sides:
            (sides[tag],) = struct.unpack_from(order + ("H" if kind == 3 else "I"), data, place + 8)
    return sides[257], sides[256]


_FORMATS: tuple[tuple[str, bytes, Callable[[bytes], tuple[int, int]]], ...] = (
    ("PNG", rb"\x89PNG\r\n\x1a\n", _png),
    ("JPEG", rb"\xff\xd8\xff", _jpeg),
    ("GIF", rb"GIF8[79]a", _gif),
    ("BMP", rb"BM", _bmp),
    ("WebP", rb"RIFF....WEBP", _webp),
    ("TIFF", rb"II\*\x00|MM\x00\*", _tiff),
)
