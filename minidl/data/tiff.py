"""TIFF: its directory of tags, and whether its compressed strips are whole.

OpenCV reads the pixels. It does not say when a compressed strip is damaged, and it multiplies
colours by their transparency. So the strips are checked here, and the tags that would change the
colours are replaced before OpenCV sees them.
"""

import struct
import zlib
from collections.abc import Callable

import numpy as np

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, ORIENTATION = 256, 257, 258, 259, 262, 274
_OFFSETS, _SAMPLES, _ROWS, _COUNTS, _PLANAR = 273, 277, 278, 279, 284
_TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_COUNTS = 322, 323, 324, 325
_EXTRA, _FORMAT, _JPEG_TABLES = 338, 339, 347
_RGB, _PALETTE, _CMYK, _YCBCR = 2, 3, 5, 6  # values of PHOTOMETRIC
_PREMULTIPLIED = 1  # a value of _EXTRA
_SIGNED = 2  # a value of _FORMAT
_COLOURS = (0, 1, _RGB, _PALETTE, _CMYK)  # 0 and 1 are grey
_DEPTHS = {1, 8, 16, 32, 64}  # OpenCV does not spread 10, 12 and 14 bits over their range
_KINDS = {1: "B", 3: "H", 4: "I", 7: "B"}
_RAW, _LZW, _JPEG, _PACKBITS, _DEFLATE, _FAX = 1, 5, 7, 32773, (8, 32946), (2, 3, 4)  # COMPRESSION
_COMPRESSIONS = {_RAW, _LZW, _JPEG, _PACKBITS, *_DEFLATE, *_FAX}
# Also the order of bits, options of fax compression, predictor, palette, and size of colours.
_OF_PIXELS = {
    WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, _OFFSETS, _SAMPLES, _ROWS, _COUNTS, _PLANAR,
    _TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_COUNTS, _FORMAT, _JPEG_TABLES,
    266, 292, 293, 317, 320, 530, 532,
}  # fmt: skip

Check = Callable[[bytes], object]


class Directory:
    """The tags of a TIFF file's first image, or of the EXIF part of another file.

    Raises: struct.error if the directory is cut short.
    """

    def __init__(self, data: bytes) -> None:
        self.order = "<" if data[:2] == b"II" else ">"
        self.values: dict[int, tuple[int, ...]] = {}
        self.entries: dict[int, bytes] = {}  # as they are written in the file
        (start,) = struct.unpack_from(self.order + "I", data, 4)
        (entries,) = struct.unpack_from(self.order + "H", data, start)
        for place in range(start + 2, start + 2 + 12 * entries, 12):
            tag, kind, count, value = struct.unpack_from(self.order + "HHII", data, place)
            if code := _KINDS.get(kind):
                at = value if count * struct.calcsize(code) > 4 else place + 8
                if count > len(data):
                    raise struct.error("more values than bytes")
                self.values[tag] = struct.unpack_from(f"{self.order}{count}{code}", data, at)
                self.entries[tag] = data[place : place + 12]

    def one(self, tag: int, default: int) -> int:
        """The first value of a tag."""
        return (self.values.get(tag) or (default,))[0]

    @property
    def orientation(self) -> int:
        """How the picture is turned, 1 to 8; 1 for any other number, as cameras write 0."""
        found = self.one(ORIENTATION, 1)
        return found if 1 <= found <= 8 else 1

    def fourth_channel(self) -> str:
        """The meaning of a fourth channel that changes the colours: "black" (CMYK),
        "premultiplied" (transparency by which the colours were multiplied), or "" for none.
        """
        if self.one(PHOTOMETRIC, 1) == _CMYK:
            return "black"
        alpha = self.one(_SAMPLES, 1) == 4 and self.one(_EXTRA, 0) == _PREMULTIPLIED
        return "premultiplied" if alpha else ""

    def plain(self, data: bytes) -> bytes:
        """The file with a new directory, which has only the tags that say where the pixels are.

        Without the other tags OpenCV neither turns the image nor mixes its colours, and does not
        warn of private tags.
        """
        entries = {tag: entry for tag, entry in self.entries.items() if tag in _OF_PIXELS}
        short = struct.Struct(self.order + "HHIHH")
        if self.one(PHOTOMETRIC, 1) == _CMYK:
            entries[PHOTOMETRIC] = short.pack(PHOTOMETRIC, 3, 1, _RGB, 0)
        extra = self.one(_SAMPLES, 1) - (
            3 if self.one(PHOTOMETRIC, 1) in (_RGB, _CMYK, _YCBCR) else 1
        )
        if extra == 1:
            entries[_EXTRA] = short.pack(_EXTRA, 3, 1, 0, 0)
        head = data[:4] + struct.pack(self.order + "I", len(data) + len(data) % 2)
        count = struct.pack(self.order + "H", len(entries))
        body = b"".join(entries[tag] for tag in sorted(entries))
        return head + data[8:] + bytes(len(data) % 2) + count + body + bytes(4)

    def check(self, data: bytes, check_jpeg: Check) -> None:
        """Raise ValueError if the pixels are of a kind that is not read, damaged or cut short."""
        compression = self.one(COMPRESSION, 1)
        colour, bits = self.one(PHOTOMETRIC, 1), self.one(BITS, 1)
        if colour not in _COLOURS and (colour, compression) != (_YCBCR, _JPEG):
            raise ValueError(f"the TIFF file has colours of kind {colour}; save it as a PNG")
        if self.one(_FORMAT, 1) == _SIGNED:
            raise ValueError(
                "the TIFF file holds signed values, but 8 or 16 bits are expected; "
                "save it as an ordinary PNG"
            )
        samples = self.one(_SAMPLES, 1)
        depths = {*self.values.get(BITS, (1,))}
        usual = (depths <= _DEPTHS and len(depths) == 1) or (depths, colour) == ({4}, _PALETTE)
        if compression not in _COMPRESSIONS or not 1 <= samples <= 4 or not usual:
            raise ValueError(
                f"the TIFF file has compression {compression} and {samples} channels of "
                f"{', '.join(map(str, sorted(depths)))} bits; save it as a PNG"
            )
        if self.fourth_channel() and (samples, bits) != (4, 8):
            raise ValueError(
                f"the TIFF file has {samples} channels of {bits} bits for CMYK or multiplied "
                "colours, and not 4 of 8; save it as a PNG"
            )
        tables = bytes(self.values.get(_JPEG_TABLES, ()))
        for strip, full, least in self._strips(data, bits):
            if compression == _JPEG:
                check_jpeg(tables[:-2] + strip[2:] if tables else strip)
            elif (length := _length(strip, compression, full)) is not None and length < least:
                raise ValueError(f"the TIFF file is damaged: a strip has {length} bytes of {least}")

    def _strips(self, data: bytes, bits: int) -> list[tuple[bytes, int, int]]:
        """Of each strip or tile: (its bytes, their decoded length if it is full, the least length).

        bits: per sample. The last strip may hold fewer rows, so its least length is smaller.
        Raises: ValueError if the directory is damaged or a strip lies beyond the file's end.
        """
        height, width = self.one(HEIGHT, 0), self.one(WIDTH, 0)
        tiled = _TILE_OFFSETS in self.values
        rows, columns = self.one(_ROWS, height), width
        if tiled:
            rows, columns = self.one(_TILE_HEIGHT, 0), self.one(_TILE_WIDTH, 0)
        rows = min(rows, height) if not tiled else rows
        samples = self.one(_SAMPLES, 1)
        planes, samples = (samples, 1) if self.one(_PLANAR, 1) == 2 else (1, samples)
        offsets = self.values.get(_TILE_OFFSETS if tiled else _OFFSETS, ())
        counts = self.values.get(_TILE_COUNTS if tiled else _COUNTS, ())
        if min(rows, columns) < 1 or len(counts) != len(offsets):
            raise ValueError("the TIFF file is damaged: it does not say where its strips lie")
        down, across = -(-height // rows), -(-width // columns)
        if len(offsets) < down * across * planes:
            raise ValueError(
                f"the TIFF file is damaged: it has {len(offsets)} strips of "
                f"{down * across * planes}"
            )
        row = -(-columns * samples * bits // 8)
        strips = []
        for i, (offset, count) in enumerate(zip(offsets, counts, strict=True)):
            if offset + count > len(data):
                raise ValueError("the TIFF file is cut short: a strip lies beyond its end")
            left = height - i % down * rows
            least = rows if tiled else min(rows, left)
            strips.append((data[offset : offset + count], row * rows, row * least))
        return strips


def _length(strip: bytes, compression: int, full: int) -> int | None:
    """The bytes that a strip decodes to; None if its compression is not checked."""
    if compression == _RAW:
        return len(strip)
    if compression == _LZW:
        return lzw_length(strip)
    if compression == _PACKBITS:
        return _packbits_length(strip)
    if compression in _DEFLATE:
        inflate = zlib.decompressobj()
        try:
            length = len(inflate.decompress(strip, full + 1))
        except zlib.error as error:
            raise ValueError(f"the TIFF file is damaged: {error}") from None
        if not inflate.eof:
            raise ValueError("the TIFF file is damaged: a compressed strip does not end")
        return length
    return None


def _packbits_length(strip: bytes) -> int:
    """The decoded length of a strip of PackBits. After a byte n come n + 1 bytes if n < 128, else
    one byte that is repeated 257 - n times; 128 stands for nothing.
    """
    position, length = 0, 0
    while position < len(strip):
        n = strip[position]
        literal = n < 128
        length += 0 if n == 128 else n + 1 if literal else 257 - n
        position += 1 if n == 128 else n + 2 if literal else 2
    return length - max(0, position - len(strip))


_CLEAR, _END, _FIRST = 256, 257, 258
# After a clear, every code but the first adds an entry to the table. A code has one bit more as
# soon as the next entry would be number 511, 1023 or 2047.
_CODES = np.arange(4096 - _FIRST + 2, dtype=np.int32)
_BITS = 9 + np.searchsorted((511, 1023, 2047), _CODES + _FIRST - 1, "right").astype(np.int32)
_ENDS = np.cumsum(_BITS, dtype=np.int32)
_MASKS = (1 << _BITS) - 1
_NEWEST = np.append(np.int32(255), _CODES[1:] + _FIRST - 1)  # the largest code that can follow
# For a segment that begins at bit 0 to 7 of a byte: the byte in which each code begins, and the
# bits after it in the 24 that begin there.
_BYTES = [(_ENDS - _BITS + bit) // 8 for bit in range(8)]
_AFTER = [24 - (_ENDS - _BITS + bit) % 8 - _BITS for bit in range(8)]


def lzw_length(strip: bytes) -> int:
    """The number of bytes that a strip of LZW codes stands for.

    Raises: ValueError for a code that is not in the table yet.
    Source: TIFF 6.0, section 13.
    """
    octets = np.frombuffer(strip + bytes(4), np.uint8).astype(np.int32)
    groups = octets[:-2] << 16 | octets[1:-1] << 8 | octets[2:]  # 24 bits from each byte on
    position, total = 0, 0
    while position + 9 <= 8 * len(strip):
        most = int(np.searchsorted(_ENDS, 8 * len(strip) - position, "right"))
        start, bit = divmod(position, 8)
        codes = groups[start + _BYTES[bit][:most]] >> _AFTER[bit][:most] & _MASKS[:most]
        stops = np.flatnonzero(codes >> 1 == _CLEAR >> 1)  # _CLEAR or _END
        count = int(stops[0]) if stops.size else most
        segment = codes[:count]
        if (segment > _NEWEST[:count]).any():
            raise ValueError("the TIFF file is damaged: an LZW code is not in the table yet")
        # A code below 256 stands for one byte. Entry 258 + i is the string of code i and one
        # byte more. Follow these links for all codes at once, twice as far in each pass.
        link = np.append(np.where(segment < _CLEAR, count, segment - _FIRST), count)
        lengths = np.append(np.ones(count, np.int32), np.int32(0))
        while link.min() < count:
            lengths += lengths[link]
            link = link[link]
        total += int(lengths.sum())
        if not stops.size or codes[count] == _END:
            break
        position += int(_ENDS[count])
    return total
