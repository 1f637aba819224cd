"""The header of an image file, read before the image is decoded.

The decoder allocates as much memory as the header asks for, so the size is checked first. Where a
file was cut short, some decoders fill the missing part with grey, so the file's end is checked too.
"""

import re
import struct
import zlib
from collections.abc import Callable
from typing import NamedTuple

from .tiff import HEIGHT, WIDTH, Directory

MAX_PIXELS = 64 * 2**20
# Fill bytes and a marker; 00 is a stuffed data byte and D0-D7 are restarts inside a scan.
_JPEG_MARKER = re.compile(rb"\xff+([\x01-\xcf\xd8-\xfe])")
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


class Header(NamedTuple):
    """The format, size and colours of an encoded image.

    orientation: how the stored rows are turned to give the picture, 1 (not at all) to 8 (EXIF).
    fourth_channel: "black" (CMYK), "inverted black" (as Adobe stores CMYK), "premultiplied"
    (transparency by which the colours were multiplied), or "" where it is dropped.
    tags: the directory of a TIFF file.
    """

    kind: str
    height: int
    width: int
    orientation: int = 1
    fourth_channel: str = ""
    tags: Directory | None = None


def read_header(data: bytes) -> Header:
    """The header of a file in any known format.

    data: all bytes of the file.
    Raises: ValueError with the reason (unknown format, cut short, damaged, too many pixels).
    """
    for name, signature, parse in _FORMATS:
        if signature.match(data):
            try:
                header = parse(data)
            except (struct.error, IndexError):
                raise ValueError(f"the {name} file is cut short or damaged") from None
            height, width = header.height, header.width
            if height < 1 or width < 1:
                raise ValueError(f"the {name} file is damaged: it says {height}x{width} pixels")
            if height * width > MAX_PIXELS:
                raise ValueError(
                    f"the {name} file claims {height}x{width} pixels, more than {MAX_PIXELS:,}; "
                    "make it smaller with an image editor"
                )
            return header
    known = ", ".join(name for name, _, _ in _FORMATS)
    raise ValueError(f"not an image in a known format ({known}); it starts with {data[:8]!r}")


def _turn(exif: bytes) -> int:
    """The orientation in EXIF data; 1 where they are damaged, as the image may still be whole."""
    try:
        return Directory(exif.removeprefix(b"Exif\0\0")).orientation
    except struct.error:
        return 1


def _png(data: bytes) -> Header:
    position, view, orientation = 8, memoryview(data), 1
    while True:
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 8 + length
        (checksum,) = struct.unpack_from(">I", data, end)
        critical = not kind[0] & 0x20
        if critical and zlib.crc32(view[position + 4 : end]) != checksum:
            raise ValueError(f"the PNG file is damaged: wrong checksum in its {kind!r} chunk")
        if kind == b"eXIf":
            orientation = _turn(data[position + 8 : end])
        if kind == b"IEND":
            width, height = struct.unpack_from(">II", data, 16)
            return Header("PNG", height, width, orientation)
        position = end + 4


def _jpeg(data: bytes) -> Header:
    position, frame, orientation, black = 2, None, 1, "black"
    while found := _JPEG_MARKER.search(data, position):
        kind, position = found[1][0], found.end()
        if kind == 0xD9:
            if frame is None:
                raise ValueError("the JPEG file is damaged: it has no frame header")
            height, width, channels = frame
            return Header("JPEG", height, width, orientation, black if channels == 4 else "")
        if kind in (0x01, 0xD8):
            continue
        (length,) = struct.unpack_from(">H", data, position)
        if kind in _JPEG_FRAMES and frame is None:
            frame = struct.unpack_from(">HHB", data, position + 3)
        elif kind == 0xE1 and data.startswith(b"Exif\0\0", position + 2):
            orientation = _turn(data[position + 2 : position + length])
        elif kind == 0xEE and data.startswith(b"Adobe", position + 2):
            black = "inverted black"
        position += length
    raise ValueError("the JPEG file is cut short: it has no end-of-image marker")


def _gif(data: bytes) -> Header:
    width, height = struct.unpack_from("<HH", data, 6)
    return Header("GIF", height, width)


def _bmp(data: bytes) -> Header:
    (header_size,) = struct.unpack_from("<I", data, 14)
    width, height = struct.unpack_from("<HH" if header_size == 12 else "<ii", data, 18)
    return Header("BMP", abs(height), width)  # a negative height: the rows run downwards


def _webp(data: bytes) -> Header:
    (size,) = struct.unpack_from("<I", data, 4)
    if len(data) < size + 8:
        raise ValueError(f"the WebP file is cut short: {len(data)} of {size + 8} bytes")
    kind, orientation = data[12:16], 1
    if kind == b"VP8X":
        width, height = (int.from_bytes(data[i : i + 3], "little") + 1 for i in (24, 27))
        position = 12
        while position + 8 <= size + 8:
            name, length = struct.unpack_from("<4sI", data, position)
            position += 8
            if name == b"EXIF":
                orientation = _turn(data[position : position + length])
            position += length + length % 2
    elif kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
    return Header("WebP", height, width, orientation)


def _tiff(data: bytes) -> Header:
    tags = Directory(data)
    height, width = tags.one(HEIGHT, 0), tags.one(WIDTH, 0)
    return Header("TIFF", height, width, tags.orientation, tags.fourth_channel(), tags=tags)


_FORMATS: tuple[tuple[str, re.Pattern[bytes], Callable[[bytes], Header]], ...] = (
    ("PNG", re.compile(rb"\x89PNG\r\n\x1a\n"), _png),
    ("JPEG", re.compile(rb"\xff\xd8\xff"), _jpeg),
    ("GIF", re.compile(rb"GIF8[79]a"), _gif),
    ("BMP", re.compile(rb"BM"), _bmp),
    ("WebP", re.compile(rb"RIFF....WEBP", re.DOTALL), _webp),
    ("TIFF", re.compile(rb"II\*\x00|MM\x00\*"), _tiff),
)
