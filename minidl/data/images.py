"""Reading one image file into an array, and stretching images."""

import os

import numpy as np

from ..errors import ConfigError, DataError
from ..files import read_file
from .decode import decode, libraries
from .header import MAX_PIXELS, read_header

_MAX_BYTES = 8 * MAX_PIXELS  # uncompressed RGBA of 16 bits

Size = int | tuple[int, int]


def load_image(
    path: str | os.PathLike[str], *, gray: bool = False, size: Size | None = None
) -> np.ndarray:
    """Read a PNG, JPEG, BMP, GIF, WebP or TIFF file as float32 in [0, 1].

    Shapes: (3, H, W) in RGB order, or (1, H, W) if `gray`. `size`, an int for a square or
    (height, width), stretches the image to that size: area averages where it shrinks, linear
    interpolation where it only grows.
    Numerics: 8-bit values are divided by 255, 16-bit values by 65535. Grey is
    0.299 R + 0.587 G + 0.114 B, rounded to the file's depth. The rotation that a camera noted
    (EXIF) is applied. Transparency is dropped: a transparent pixel has the colour that is stored
    for it, as in Pillow's `convert("RGB")`, and is not mixed with a background. Palette, grey and
    CMYK images become RGB. Of an animation or a file of several pages the first is read.
    Threads may read at the same time.
    Raises: DataError if the file is missing, unreadable, not an image, damaged, cut short, of
    another depth or an unusual kind, does not fit into memory, or claims more than 64 megapixels
    (refused before it is decoded).
    """
    return unit(load_pixels(path, gray=gray, size=size))


def unit(pixels: np.ndarray) -> np.ndarray:
    """Pixels of 8 or 16 bits as float32 in [0, 1]."""
    return np.divide(pixels, np.iinfo(pixels.dtype).max, dtype=np.float32)


def load_pixels(
    path: str | os.PathLike[str], *, gray: bool = False, size: Size | None = None
) -> np.ndarray:
    """As load_image, but the pixels as they are stored: uint8, or uint16 from files of 16 bits."""
    shape = None if size is None else height_width(size, "load_image")
    cv2, _ = libraries()  # before the first byte: a missing library is not the file's fault
    try:
        data = read_file(path, _MAX_BYTES)  # not cv2.imread: it fails on names beyond ASCII
        if not data:
            raise ValueError("it is empty (0 bytes)")
        header = read_header(data)
        try:
            pixels = decode(data, header)
            if gray:
                pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
            if shape is not None:
                pixels = resize_plane(pixels, shape)
            return pixels[None] if gray else np.ascontiguousarray(pixels.transpose(2, 0, 1))
        except MemoryError:
            raise ValueError(
                f"its {header.height}x{header.width} pixels need about "
                f"{40 * header.height * header.width / 1e6:,.0f} MB of memory, which are not free; "
                "make it smaller with an image editor"
            ) from None
    except ValueError as error:
        raise DataError(
            f"load_image: expected a readable image at {os.fspath(path)!r}, but {error}",
            files=[(os.fspath(path), str(error))],
        ) from None


def height_width(size: Size, call: str) -> tuple[int, int]:
    """`size` as (height, width). Raises: ConfigError unless it is positive, and at most MAX_PIXELS
    in all.

    call: the name of the function that the error names.
    """
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
    cv2, _ = libraries()
    shrinks = shape[0] < image.shape[0] or shape[1] < image.shape[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(image, shape[::-1], interpolation=how)
