"""From the bytes of an image file to its pixels.

simplejpeg decodes JPEG and OpenCV the rest. Where a JPEG file is damaged, OpenCV makes pixels up
and only prints a warning to standard error. simplejpeg raises an error.
"""

import struct
from typing import Any

import numpy as np

from ..errors import DataError
from .header import Header

# Words of libjpeg for a file that decodes to the picture all the same: cameras leave such bytes.
_HARMLESS_JPEG = ("extraneous bytes before", "unknown JFIF revision", "Unknown Adobe color")


def libraries() -> tuple[Any, Any]:
    """(cv2, simplejpeg), imported when an image is read. Raises: DataError if one is missing."""
    try:
        import cv2
        import simplejpeg
    except ImportError as error:
        raise DataError(
            f"images: expected OpenCV and simplejpeg, but the import failed ({error}); "
            "pip install opencv-python-headless simplejpeg"
        ) from None
    return cv2, simplejpeg


def decode(data: bytes, header: Header) -> np.ndarray:
    """The pixels (H, W, 3) in RGB order, uint8 or uint16, turned upright as the camera noted.

    Raises: ValueError with the reason if the file is damaged, cut short or of an unusual kind.
    """
    try:
        if header.kind == "JPEG":
            pixels = _jpeg(data, header.fourth_channel)
        elif header.kind == "BMP":
            pixels = _bmp(data, header)
        elif header.kind == "GIF":
            pixels = _by_opencv(_opaque(data), header)
        elif header.tags is not None:
            header.tags.check(data, _check_jpeg)
            pixels = _by_opencv(header.tags.plain(data), header)
        else:
            pixels = _by_opencv(data, header)
    except (struct.error, IndexError):
        raise ValueError(f"the {header.kind} file is cut short or damaged") from None
    return _turned(pixels, header.orientation)


def _turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turn the pixels upright. orientation: 1 to 8, as in EXIF."""
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _by_opencv(data: bytes, header: Header) -> np.ndarray:
    cv2, _ = libraries()
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
    if header.fourth_channel:
        flags = cv2.IMREAD_UNCHANGED
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise ValueError(f"OpenCV cannot decode the {header.kind} file ({error})") from None
    if pixels is None:
        raise ValueError(
            f"the {header.kind} file is damaged or of an unusual kind: OpenCV refuses it; "
            "save it as an ordinary PNG"
        )
    if pixels.dtype not in (np.uint8, np.uint16):
        bad = int((~np.isfinite(pixels)).sum())
        nans = f" ({bad} of them NaN or infinite)" if bad else ""
        raise ValueError(
            f"the {header.kind} file holds {pixels.dtype} values{nans}, but 8 or 16 bits are "
            "expected; save it as an ordinary PNG"
        )
    if header.fourth_channel:
        return _mixed(cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA), header.fourth_channel)
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def _mixed(pixels: np.ndarray, fourth_channel: str) -> np.ndarray:
    """RGB from four channels. fourth_channel: the meaning of the fourth, as in `Header`."""
    colours, fourth = pixels[..., :3].astype(np.int32), pixels[..., 3:].astype(np.int32)
    if fourth_channel == "premultiplied":
        undone = np.minimum(colours * 255 // np.maximum(fourth, 1), 255)
        return np.where(fourth == 0, colours, undone).astype(np.uint8)
    if fourth_channel == "inverted black":
        colours, fourth = 255 - colours, 255 - fourth
    product = colours * (255 - fourth) + 128  # c·(255 - k)/255, rounded
    return np.clip(255 - fourth - ((product >> 8) + product >> 8), 0, 255).astype(np.uint8)


def _check_jpeg(data: bytes) -> None:
    """Raise ValueError if JPEG data are damaged."""
    _by_simplejpeg(data, "GRAY")


def _by_simplejpeg(data: bytes, colours: str) -> np.ndarray:
    _, simplejpeg = libraries()
    try:
        return simplejpeg.decode_jpeg(data, colours)
    except ValueError as error:
        if any(words in str(error) for words in _HARMLESS_JPEG):
            return simplejpeg.decode_jpeg(data, colours, strict=False)
        raise ValueError(f"the JPEG file is damaged or of an unusual kind: {error}") from None


def _jpeg(data: bytes, fourth_channel: str) -> np.ndarray:
    if fourth_channel:
        return _mixed(_by_simplejpeg(data, "CMYK"), fourth_channel)
    return _by_simplejpeg(data, "RGB")


def _opaque(data: bytes) -> bytes:
    """A GIF file without its marks of transparency.

    OpenCV would replace transparent pixels by the background colour. Where the first frame is
    smaller than the picture, the rest gets the transparent colour, or the first of the palette, as
    in Pillow.
    Raises: IndexError if the file is cut short: its blocks are followed up to the last.
    """
    changed = bytearray(data)
    background = 0

    def after_table(position: int, flags: int) -> int:
        return position + (3 << (flags & 7) + 1 if flags & 0x80 else 0)

    position, seen = after_table(13, data[10]), False
    while (kind := data[position]) != 0x3B:
        if kind == 0x21:  # an extension: its label, then its pieces
            if data[position + 1] == 0xF9 and data[position + 3] & 1:
                changed[position + 3] &= ~1
                background = background if seen else data[position + 6]
            position += 2
        elif kind == 0x2C:  # an image: its place, size and colours, then its pieces
            position, seen = after_table(position + 10, data[position + 9]) + 1, True
        else:
            raise ValueError(f"the GIF file is damaged: it has a block of kind {kind:#04x}")
        while data[position]:
            position += 1 + data[position]
        position += 1
    changed[11] = background
    return bytes(changed)


def _bmp(data: bytes, header: Header) -> np.ndarray:
    """A bitmap: OpenCV does not follow the masks that say where each colour's bits lie."""
    start, size = struct.unpack_from("<II", data, 10)
    compression = 0
    if size == 12:
        _, height, _, bits = struct.unpack_from("<HHHH", data, 18)
    else:
        height, _, bits, compression = struct.unpack_from("<iHHI", data, 22)
    row = (header.width * bits + 31) // 32 * 4  # filled up to a multiple of four bytes
    needed = start + row * header.height
    if compression in (0, 3) and len(data) < needed:
        raise ValueError(f"the BMP file is cut short: {len(data):,} of {needed:,} bytes")
    if compression != 3 and bits != 16:
        return _by_opencv(data, header)
    masks = (0x7C00, 0x3E0, 0x1F) if compression == 0 else struct.unpack_from("<III", data, 54)
    if bits not in (16, 32) or compression not in (0, 3) or not all(masks):
        raise ValueError(f"the BMP file has masks {masks} of {bits} bits; save it as a PNG")
    rows = np.frombuffer(data, np.uint8, row * header.height, start).reshape(header.height, row)
    words = rows[:, : header.width * bits // 8].copy().view(f"<u{bits // 8}").astype(np.int64)
    planes = []
    for mask in masks:
        low = mask & -mask
        planes.append((words & mask) // low * 255 // (mask // low))
    pixels = np.stack(planes, axis=-1).astype(np.uint8)
    return pixels if height < 0 else pixels[::-1]
