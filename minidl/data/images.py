"""Reading one image file into an array. OpenCV decodes; everything around it is distrust."""

import os
import re
import stat
import tempfile
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from ..errors import ConfigError, DataError
from .header import read_header

MAX_PIXELS = 64 * 2**20
_MAX_BYTES = 8 * MAX_PIXELS  # uncompressed RGBA of 16 bits
# What libjpeg, libpng and libtiff print when they go on with pixels that they had to make up.
_DAMAGE = re.compile(r"premature end of|bad Huffman|libpng error|TIFF_Error")

Size = int | tuple[int, int]
_Result = TypeVar("_Result")


def load_image(
    path: str | os.PathLike[str], *, gray: bool = False, size: Size | None = None
) -> np.ndarray:
    """Read a PNG, JPEG, BMP, GIF, WebP or TIFF file as float32 in [0, 1].

    Shapes: (3, H, W) in RGB order, or (1, H, W) if `gray`. `size`, an int for a square or
    (height, width), stretches the image to that size: area averages where it shrinks, linear
    interpolation where it only grows.
    Numerics: 8-bit values are divided by 255, 16-bit values by 65535. Grey is
    0.299 R + 0.587 G + 0.114 B, rounded to the file's depth. The rotation that a camera noted
    (EXIF) is applied. An alpha channel is dropped: the colours under it are returned as they
    are stored. Palette, grey and CMYK images become RGB. Of an animation the first frame is read.
    Raises: DataError if the file is missing, unreadable, not an image, damaged, cut short, of
    another depth, or claims more than 64 megapixels (refused before it is decoded).
    """
    shape = None if size is None else height_width(size, "load_image")
    cv2 = _opencv()
    try:
        data = _read_bytes(path)
        kind, height, width = read_header(data)
        if height * width > MAX_PIXELS:
            raise ValueError(
                f"the {kind} file claims {height}x{width} pixels, more than {MAX_PIXELS:,}; "
                "make it smaller with an image editor"
            )
        pixels = _decode(cv2, data, kind, gray)
    except ValueError as error:
        raise DataError(
            f"load_image: expected a readable image at {os.fspath(path)!r}, but {error}",
            files=[(os.fspath(path), str(error))],
        ) from None
    scale = np.float32(np.iinfo(pixels.dtype).max)
    if shape is not None:
        pixels = resize_plane(pixels, shape)
    if pixels.ndim == 2:
        return pixels[None] / scale
    return np.ascontiguousarray(pixels[:, :, ::-1].transpose(2, 0, 1)) / scale  # BGR to RGB


def height_width(size: Size, call: str) -> tuple[int, int]:
    """`size` as (height, width). Raises: ConfigError unless it is positive and not vast."""
    sides = tuple(size) if isinstance(size, (tuple, list)) else (size, size)
    if len(sides) != 2 or not all(
        isinstance(side, (int, np.integer)) and not isinstance(side, bool) and side > 0
        for side in sides
    ):
        raise ConfigError(
            f"{call}: expected size as a positive int or (height, width), got {size!r}"
        )
    if sides[0] * sides[1] > MAX_PIXELS:
        raise ConfigError(f"{call}: expected size of at most {MAX_PIXELS:,} pixels, got {size!r}")
    return int(sides[0]), int(sides[1])


def resize_plane(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Stretch an (H, W) or (H, W, 3) array to `shape`."""
    if image.shape[:2] == shape:
        return image
    cv2 = _opencv()
    shrinks = shape[0] < image.shape[0] or shape[1] < image.shape[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(image, shape[::-1], interpolation=how)


def _opencv() -> Any:
    try:
        import cv2
    except ImportError as error:
        raise DataError(
            f"images: expected OpenCV, but import cv2 failed ({error}); "
            "pip install opencv-python-headless"
        ) from None
    return cv2


def _read_bytes(path: str | os.PathLike[str]) -> bytes:
    try:
        info = os.stat(path)
        if stat.S_ISDIR(info.st_mode):
            raise ValueError("it is a folder; ImageFolder reads a folder of class folders")
        if not stat.S_ISREG(info.st_mode):
            raise ValueError("it is not a regular file")
        if info.st_size == 0:
            raise ValueError("it is empty (0 bytes)")
        if info.st_size > _MAX_BYTES:
            raise ValueError(f"it has {info.st_size:,} bytes, more than {_MAX_BYTES:,}")
        with open(path, "rb") as file:  # and not cv2.imread, which fails on non-ASCII names
            return file.read()
    except FileNotFoundError:
        raise ValueError("there is no such file; check the path") from None
    except OSError as error:
        raise ValueError(f"it cannot be read: {error.strerror}") from None


def _decode(cv2: Any, data: bytes, kind: str, gray: bool) -> np.ndarray:
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH
    buffer = np.frombuffer(data, np.uint8)
    try:
        pixels, printed = _hearing_stderr(lambda: cv2.imdecode(buffer, flags))
    except (cv2.error, MemoryError) as error:
        raise ValueError(f"OpenCV cannot decode the {kind} file ({error})") from None
    if pixels is None:
        raise ValueError(f"the {kind} file is damaged or of an unusual kind: OpenCV refuses it")
    if _DAMAGE.search(printed):
        raise ValueError(f"the {kind} file is damaged: {printed.strip().splitlines()[0]}")
    if pixels.dtype not in (np.uint8, np.uint16):
        bad = int((~np.isfinite(pixels)).sum())
        nans = f" ({bad} of them NaN or infinite)" if bad else ""
        raise ValueError(
            f"the {kind} file holds {pixels.dtype} values{nans}, but 8 or 16 bits are expected; "
            "save it as an ordinary PNG"
        )
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY) if gray else pixels


_stderr_lock = threading.Lock()


def _hearing_stderr(call: Callable[[], _Result]) -> tuple[_Result, str]:
    """The result of `call`, and what it printed to file descriptor 2.

    The decoders' C libraries report half-decoded files there and nowhere else.
    """
    with _stderr_lock, tempfile.TemporaryFile() as heard:
        try:
            kept = os.dup(2)
        except OSError:  # a process without standard error
            return call(), ""
        try:
            os.dup2(heard.fileno(), 2)
            result = call()
        finally:
            os.dup2(kept, 2)
            os.close(kept)
        heard.seek(0)
        return result, heard.read(4096).decode("utf-8", "replace")
