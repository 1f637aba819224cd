"""IDX, the file format of MNIST.

A file begins with two zero bytes, a byte for the type of the values and one for the number of axes.
Then comes the length of each axis in four bytes, the highest byte first; then the values.
"""

import gzip
import math
import os
import struct
import zlib
from typing import BinaryIO, cast

import numpy as np

from ..errors import DataError
from ..files import check_file

_MAX_BYTES = 2**31
_CHUNK = 2**20


def read_idx(path: str | os.PathLike[str]) -> np.ndarray:
    """Read an IDX file of bytes, gzip-compressed or not, as a uint8 array.

    Shapes: whatever the file states: (N,) for labels, (N, H, W) for images.
    Raises: DataError unless the header is whole, states unsigned bytes and 1 to 4 dimensions,
    and exactly as many values follow; DataError if the compression is damaged.
    Source: LeCun, Cortes, Burges, "The MNIST database of handwritten digits".
    """
    try:
        check_file(path, _MAX_BYTES)
        with open(path, "rb") as raw:
            compressed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            file = gzip.GzipFile(fileobj=raw) if compressed else raw
            return _read(cast(BinaryIO, file))
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        reason = f"its gzip compression is damaged or cut short ({error}); fetch the file again"
    except OSError as error:
        reason = f"it cannot be read: {error.strerror or error}"
    except MemoryError:
        reason = "its values do not fit into the free memory"
    except ValueError as error:
        reason = str(error)
    raise DataError(
        f"read_idx: expected an IDX file at {os.fspath(path)!r}, but {reason}",
        files=[(os.fspath(path), reason)],
    )


def _read(file: BinaryIO) -> np.ndarray:
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0":
        raise ValueError(f"it starts with {magic!r} and not with two zero bytes, type and dims")
    kind, dims = magic[2:]
    if kind != 8 or not 1 <= dims <= 4:
        raise ValueError(
            f"its magic number {magic.hex()} states type {kind:#04x} and {dims} dimensions; "
            "type 0x08 (unsigned bytes) and 1 to 4 dimensions are read"
        )
    sizes = file.read(4 * dims)
    if len(sizes) < 4 * dims:
        raise ValueError(f"its header of {dims} dimensions is cut short")
    shape = struct.unpack(f">{dims}I", sizes)
    expected = math.prod(shape)
    if expected > _MAX_BYTES:
        raise ValueError(f"it states {shape}: {expected:,} values, more than {_MAX_BYTES:,}")
    # In pieces, and no further than one too many: the header or the compression may lie.
    body = bytearray()
    while len(body) <= expected and (piece := file.read(_CHUNK)):
        body += piece
    if len(body) != expected:
        found = f"{len(body):,}" if len(body) < expected else "more"
        raise ValueError(f"it states {shape}: {expected:,} values, and {found} follow")
    return np.frombuffer(body, np.uint8).reshape(shape)
