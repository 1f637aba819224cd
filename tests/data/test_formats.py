"""Every format, depth, kind of colour, transparency and turn: Pillow's pixels, or a refusal."""

import io
import struct
import threading
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from minidl.data import load_image
from minidl.errors import DataError

H, W = 12, 20
RNG = np.random.default_rng(0)
# Smooth enough for JPEG and varied enough that no two channels could be exchanged unseen.
ROWS, COLUMNS = np.mgrid[:H, :W]
RED, GREEN, BLUE, ALPHA = (
    (127 + 120 * np.sin(a * ROWS / 7 + b * COLUMNS / 9)).astype(np.uint8)
    for a, b in ((1, 0.3), (0.4, 1), (1.2, 1.1), (0.9, -1))
)
ALPHA[:3], ALPHA[-3:] = 0, 255  # fully transparent pixels have colours of their own, too
RGB = Image.fromarray(np.dstack([RED, GREEN, BLUE]))
RGBA = Image.fromarray(np.dstack([RED, GREEN, BLUE, ALPHA]))
GRAY, GRAY_ALPHA = Image.fromarray(RED), Image.fromarray(np.dstack([RED, ALPHA]), "LA")
BITS = Image.fromarray(RED > 127)
DEEP = Image.fromarray(RED.astype(np.uint16) * 256 + GREEN)
PALETTE = RGB.quantize(40)
SMALL = RGB.quantize(7)
FOUR = [RED, GREEN, BLUE, ALPHA]
DEEPER = [plane * 256.0 + 99 for plane in FOUR]
MULTIPLIED = [RED // 2, GREEN // 2, BLUE // 2, ALPHA | 128]
CMYK = Image.fromarray(np.dstack([RED, GREEN, BLUE, ALPHA // 2]), "CMYK")


def saved(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def turned(image, kind, orientation, **options):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(image, kind, exif=exif, **options)


def png(depth, colour, rows, *chunks, interlace=0):
    """A PNG file from its packed rows, for the kinds that Pillow does not write."""

    def chunk(kind, body):
        check = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", check)

    head = struct.pack(">IIBBBBB", W, H, depth, colour, 0, 0, interlace)
    body = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    parts = [(b"IHDR", head), *chunks, (b"IDAT", body), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def deep(*planes):
    """16 bits with a low byte of its own, big-endian, as PNG packs its rows."""
    return (np.stack(planes, axis=-1).astype(">u2") * 256 + 37).reshape(H, -1)


def bmp(bits, rows, *, masks=(), table=b"", header=40, compression=0, down=False):
    """A BMP file from packed rows, top row first."""
    rows = [row + bytes(-len(row) % 4) for row in (r.tobytes() for r in rows)]
    body = b"".join(rows if down else rows[::-1])
    bit_fields = struct.pack(f"<{len(masks)}I", *masks)
    compression = 3 if masks else compression
    info = struct.pack(
        "<IiiHHIIiiII", header, W, -H if down else H, 1, bits, compression, len(body), 0, 0,
        len(table) // 4, 0,
    )  # fmt: skip
    info = (info + bit_fields).ljust(header, b"\0") if header > 40 else info + bit_fields
    offset = 14 + len(info) + len(table)
    return b"BM" + struct.pack("<IHHI", offset + len(body), 0, 0, offset) + info + table + body


def masked(red, green, blue, alpha=0, *, bits=32, header=56):
    """A bitmap whose colours lie where its masks say."""
    planes = zip((RED, GREEN, BLUE, ALPHA), (red, green, blue, alpha), strict=True)
    word = np.zeros((H, W), np.uint64)
    for plane, mask in planes:
        if mask:
            low = (mask & -mask).bit_length() - 1
            word |= (plane.astype(np.uint64) * (mask >> low) // 255) << low
    masks = (red, green, blue, alpha) if header > 52 else (red, green, blue)
    return bmp(bits, word.astype(f"<u{bits // 8}"), masks=masks, header=header)


def tiff(
    planes, *, bits, photometric, extra=(), order="<", planar=1, orientation=None, depths=None
):
    """An uncompressed TIFF file of planes (H, W), for the kinds that Pillow does not write."""
    count = len(planes)
    kind = f"{order}u{max(bits, 8) // 8}"
    pixels = [np.asarray(p).astype(kind) for p in planes]
    body = (np.stack(pixels, axis=-1 if planar == 1 else 0)).tobytes()
    strips = 1 if planar == 1 else count
    tags = {
        256: (4, [W]), 257: (4, [H]), 258: (3, depths or [bits] * count), 259: (3, [1]),
        262: (3, [photometric]), 277: (3, [count]), 278: (4, [H]), 284: (3, [planar]),
        273: (4, [8 + i * (len(body) // strips) for i in range(strips)]),
        279: (4, [len(body) // strips] * strips),
    }  # fmt: skip
    if extra:
        tags[338] = (3, list(extra))
    if orientation is not None:
        tags[274] = (3, [orientation])
    return directory(body, tags, order)


def directory(body, tags, order):
    """A TIFF file: the pixels, and after them the tags."""
    start = 8 + len(body) + len(body) % 2
    after = start + 2 + 12 * len(tags) + 4
    entries, values = b"", b""
    for tag in sorted(tags):
        code, numbers = tags[tag]
        packed = struct.pack(order + "HI"[code == 4] * len(numbers), *numbers)
        if len(packed) > 4:
            place = struct.pack(order + "I", after + len(values))
            values += packed
        else:
            place = packed.ljust(4, b"\0")
        entries += struct.pack(order + "HHI", tag, code, len(numbers)) + place
    magic = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, start)
    head = magic + body + bytes(len(body) % 2)
    return head + struct.pack(order + "H", len(tags)) + entries + bytes(4) + values


def framed(gif):
    """The GIF file with a picture of 18 x 31 pixels, and its frame at the place (4, 3)."""
    frame = gif.index(b"," + bytes(4))
    return (
        gif[:6] + struct.pack("<HH", 31, 18) + gif[10 : frame + 1] + b"\4\0\3\0" + gif[frame + 5 :]
    )


def few_bits(bits, photometric):
    """A TIFF file of grey or of a palette, with less than 8 bits, or with 12."""
    values = (RED.astype(">u2") * 257) >> (16 - bits)
    unpacked = np.unpackbits(values.astype(">u2").view(np.uint8).reshape(H, W, 2), axis=2)
    body = np.packbits(unpacked[..., 16 - bits :].reshape(H, -1), axis=1).tobytes()
    tags = {
        256: (4, [W]), 257: (4, [H]), 258: (3, [bits]), 259: (3, [1]), 262: (3, [photometric]),
        273: (4, [8]), 277: (3, [1]), 278: (4, [H]), 279: (4, [len(body)]),
    }  # fmt: skip
    if photometric == 3:
        tags[320] = (3, [(i * 4001) % 65536 for i in range(3 << bits)])
    return directory(body, tags, "<")


def tiles(compression, pack):
    """A TIFF file of 16 x 16 tiles: the picture, and the edge that no one sees."""
    wide = np.pad(np.dstack([RED, GREEN, BLUE]), ((0, 16 - H), (0, 32 - W), (0, 0)), mode="edge")
    bodies = [pack(np.ascontiguousarray(wide[:, i : i + 16]).tobytes()) for i in (0, 16)]
    places = [8, 8 + len(bodies[0])]
    tags = {
        256: (4, [W]), 257: (4, [H]), 258: (3, [8] * 3), 259: (3, [compression]),
        262: (3, [2]), 277: (3, [3]), 322: (3, [16]),
        323: (3, [16]), 324: (4, places),
        325: (4, [len(b) for b in bodies]),
    }  # fmt: skip
    return directory(b"".join(bodies), tags, "<")


TABLE = {
    # PNG
    **{f"png {im.mode}": saved(im, "PNG") for im in (RGB, RGBA, GRAY, GRAY_ALPHA, BITS, DEEP)},
    "png palette of 40": saved(PALETTE, "PNG"),
    "png palette of 7, four bits": saved(SMALL, "PNG", bits=4),
    "png palette of 4, two bits": saved(RGB.quantize(4), "PNG", bits=2),
    "png palette, one bit": saved(RGB.quantize(2), "PNG", bits=1),
    "png palette, one colour transparent": saved(PALETTE, "PNG", transparency=3),
    "png palette, tRNS half": saved(PALETTE, "PNG", transparency=bytes(range(0, 200, 5))),
    "png RGB, one colour transparent": saved(RGB, "PNG", transparency=RGB.getpixel((3, 3))),
    "png gray, one shade transparent": saved(GRAY, "PNG", transparency=GRAY.getpixel((3, 3))),
    "png RGB of 16 bits": png(16, 2, deep(RED, GREEN, BLUE)),
    "png RGBA of 16 bits": png(16, 6, deep(RED, GREEN, BLUE, ALPHA)),
    "png gray and alpha of 16 bits": png(16, 4, deep(RED, ALPHA)),
    "png gray of two bits": png(2, 0, np.packbits(
        np.unpackbits((RED >> 6)[..., None], axis=2)[..., 6:].reshape(H, -1), axis=1)),
    "png gray of four bits": png(4, 0, (RED[:, ::2] & 0xF0) | (RED[:, 1::2] >> 4)),
    "png with a gamma": png(8, 2, np.dstack([RED, GREEN, BLUE]), (b"gAMA", struct.pack(">I", 1))),
    "png with a background": png(
        8, 6, np.dstack([RED, GREEN, BLUE, ALPHA]), (b"bKGD", struct.pack(">3H", 9, 99, 199))),
    **{f"png turned {i}": turned(RGB, "PNG", i) for i in range(1, 9)},
    # JPEG
    "jpeg RGB": saved(RGB, "JPEG"),
    "jpeg gray": saved(GRAY, "JPEG"),
    "jpeg CMYK": saved(CMYK, "JPEG"),
    "jpeg CMYK turned": turned(CMYK, "JPEG", 6),
    "jpeg turned 0": turned(RGB, "JPEG", 0),
    "jpeg of one frame in four": saved(RGB, "JPEG", subsampling="4:1:1"),
    "jpeg 4:4:4": saved(RGB, "JPEG", subsampling=0, quality=95),
    "jpeg 4:2:2": saved(RGB, "JPEG", subsampling=1),
    "jpeg progressive": saved(RGB, "JPEG", progressive=True),
    "jpeg with restarts": saved(RGB, "JPEG", restart_marker_blocks=1),
    "jpeg stored as RGB": saved(RGB, "JPEG", keep_rgb=True),
    **{f"jpeg turned {i}": turned(RGB, "JPEG", i) for i in range(1, 9)},
    # BMP
    "bmp RGB": saved(RGB, "BMP"),
    "bmp gray": saved(GRAY, "BMP"),
    "bmp one bit": saved(BITS, "BMP"),
    "bmp palette": saved(PALETTE, "BMP"),
    "bmp four bits": bmp(4, (np.asarray(SMALL)[:, ::2] << 4) | np.asarray(SMALL)[:, 1::2],
        table=b"".join(bytes([*SMALL.getpalette()[3 * i: 3 * i + 3][::-1], 0]) for i in range(7))),
    "bmp rows downwards": bmp(24, np.dstack([BLUE, GREEN, RED]), down=True),
    "bmp 32 bits": bmp(32, np.dstack([BLUE, GREEN, RED, ALPHA])),
    "bmp 32 bits, fourth byte 0": bmp(32, np.dstack([BLUE, GREEN, RED, 0 * ALPHA])),
    "bmp RGBA by Pillow": saved(RGBA, "BMP"),
    "bmp 5-5-5": bmp(16, ((RED.astype("<u2") >> 3) << 10) | ((GREEN.astype("<u2") >> 3) << 5)
        | (BLUE.astype("<u2") >> 3)),
    "bmp masks 5-6-5": masked(0xF800, 0x7E0, 0x1F, bits=16),
    "bmp masks 5-5-5": masked(0x7C00, 0x3E0, 0x1F, bits=16),
    "bmp masks 4-4-4": masked(0xF00, 0xF0, 0xF, bits=16),
    "bmp masks 5-5-5 BGR": masked(0x1F, 0x3E0, 0x7C00, bits=16),
    "bmp masks BGRX": masked(0xFF0000, 0xFF00, 0xFF),
    "bmp masks BGRA": masked(0xFF0000, 0xFF00, 0xFF, 0xFF000000),
    "bmp masks RGBX": masked(0xFF, 0xFF00, 0xFF0000),
    "bmp masks RGBA": masked(0xFF, 0xFF00, 0xFF0000, 0xFF000000),
    "bmp masks ABGR": masked(0xFF000000, 0xFF0000, 0xFF00, 0xFF),
    "bmp masks XRGB": masked(0xFF00, 0xFF0000, 0xFF000000),
    "bmp masks GBR": masked(0xFF00, 0xFF, 0xFF0000),
    "bmp masks of ten bits": masked(0x3FF00000, 0xFFC00, 0x3FF),
    "bmp masks after a short header": masked(0xFF, 0xFF00, 0xFF0000, header=40),
    "bmp masks in a long header": masked(0xFF, 0xFF00, 0xFF0000, 0xFF000000, header=124),
    # GIF
    "gif": saved(PALETTE, "GIF"),
    "gif of 7 colours": saved(SMALL, "GIF"),
    "gif gray": saved(GRAY, "GIF"),
    "gif interlaced": saved(PALETTE, "GIF", interlace=1),
    "gif with a transparent colour": saved(PALETTE, "GIF", transparency=PALETTE.getpixel((3, 3))),
    "gif with a background": saved(PALETTE, "GIF", transparency=7, background=5),
    "gif from RGBA": saved(RGBA, "GIF"),
    **{f"gif of a frame in a larger picture, {n}": framed(saved(PALETTE, "GIF", **options))
       for n, options in enumerate(({}, {"background": 5}, {"background": 5, "transparency": 3}))},
    "gif of two frames": saved(
        RGB.quantize(40), "GIF", save_all=True, append_images=[GRAY.convert("P")], duration=40),
    # WebP
    "webp": saved(RGB, "WEBP"),
    "webp RGBA": saved(RGBA, "WEBP"),
    "webp lossless": saved(RGB, "WEBP", lossless=True),
    "webp lossless RGBA": saved(RGBA, "WEBP", lossless=True, exact=True),
    "webp of two frames": saved(RGB, "WEBP", save_all=True, append_images=[GRAY], lossless=True),
    **{f"webp turned {i}": turned(RGB, "WEBP", i, lossless=True) for i in (3, 6)},
    # TIFF
    **{f"tiff {im.mode} {how}": saved(im, "TIFF", compression=how)
       for how in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits")
       for im in (RGB, RGBA, GRAY, GRAY_ALPHA, BITS, DEEP, PALETTE, CMYK)},
    "tiff jpeg": saved(RGB, "TIFF", compression="jpeg"),
    "tiff zstd": saved(RGB, "TIFF", compression="zstd"),
    "tiff group 4": saved(BITS, "TIFF", compression="group4"),
    "tiff group 3": saved(BITS, "TIFF", compression="group3"),
    "tiff YCbCr": saved(RGB.convert("YCbCr"), "TIFF"),
    "tiff Lab": saved(RGB.convert("LAB"), "TIFF"),
    "tiff of integers": saved(DEEP.convert("I"), "TIFF"),
    "tiff of floats": saved(GRAY.convert("F"), "TIFF"),
    **{f"tiff turned {i}": turned(RGB, "TIFF", i) for i in range(1, 9)},
    **{f"tiff deep turned {i}": tiff([DEEP], bits=16, photometric=1, orientation=i)
       for i in range(2, 9)},
    "tiff turned 0": tiff(FOUR[:3], bits=8, photometric=2, orientation=0),
    "tiff turned 9": tiff(FOUR[:3], bits=8, photometric=2, orientation=9),
    "tiff big-endian": tiff(FOUR[:3], bits=8, photometric=2, order=">"),
    "tiff planes": tiff(FOUR[:3], bits=8, photometric=2, planar=2),
    "tiff planes with alpha": tiff(FOUR, bits=8, photometric=2, planar=2, extra=[2]),
    "tiff alpha of another kind": tiff(FOUR, bits=8, photometric=2, extra=[0]),
    "tiff alpha multiplied": tiff(MULTIPLIED, bits=8, photometric=2, extra=[1]),
    "tiff white is zero": tiff([RED], bits=8, photometric=0),
    "tiff deep white is zero": tiff([DEEP], bits=16, photometric=0),
    "tiff deep big-endian": tiff([DEEP], bits=16, photometric=1, order=">"),
    "tiff deep RGB": tiff(DEEPER[:3], bits=16, photometric=2),
    "tiff deep RGB big-endian": tiff(DEEPER[:3], bits=16, photometric=2, order=">"),
    "tiff deep RGBA": tiff(DEEPER, bits=16, photometric=2, extra=[2]),
    "tiff five channels": tiff([RED, GREEN, BLUE, ALPHA, RED], bits=8, photometric=2, extra=[0, 0]),
    "tiff two channels": tiff([RED, ALPHA], bits=8, photometric=1, extra=[2]),
    **{f"tiff gray of {bits} bits": few_bits(bits, 1) for bits in (2, 4, 12)},
    "tiff palette of 4 bits": few_bits(4, 3),
    "tiff of unlike channels": tiff(FOUR[:3], bits=8, photometric=2, depths=[8, 8, 7]),
    "tiff tiles": tiles(8, zlib.compress),
    "tiff raw tiles": tiles(1, bytes),
    "tiff CMYK turned": turned(CMYK, "TIFF", 8),
    # What OpenCV would read but nobody has looked at
    **{f"ppm {im.mode}": saved(im, "PPM") for im in (RGB, GRAY, BITS, DEEP)},
    "jpeg 2000": saved(RGB, "JPEG2000"),
    "avif": saved(RGB, "AVIF") if "AVIF" in Image.SAVE else b"    ftypavif",
}  # fmt: skip


# Refused in words. All others are read.
REFUSED = {
    "tiff zstd", "tiff YCbCr", "tiff Lab", "tiff of integers", "tiff of floats",
    "tiff five channels", "tiff gray of 2 bits", "tiff gray of 4 bits", "tiff gray of 12 bits",
    "tiff of unlike channels", "tiff raw tiles", "jpeg 2000", "avif",
    *(name for name in TABLE if name.startswith("ppm")),
}  # fmt: skip


BY_OPENCV = ("tiff raw tiles", "tiff of floats")  # it logs its reasons, too


def read(folder, data):
    path = folder / "image"
    path.write_bytes(data)
    return load_image(path)


def by_pillow(data):
    """Pillow's reading, rounded down to 8 bits where it rounds down itself."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    image.info.pop("transparency", None)  # dropped, and Pillow would warn of it
    if image.mode.startswith("I;16"):
        return np.stack([np.asarray(image)] * 3) / 65535
    return np.asarray(image.convert("RGB")).transpose(2, 0, 1) / 255


def test_the_table_is_large_enough():
    assert len(TABLE) > 150 and len(REFUSED) < 20 and set(TABLE) >= REFUSED


@pytest.mark.parametrize("name", sorted(set(TABLE) - REFUSED))
def test_the_pixels_are_those_that_pillow_reads(tmp_path, name):
    found = read(tmp_path, TABLE[name])
    try:
        expected = by_pillow(TABLE[name])
    except OSError:  # masks that Pillow does not know: each colour to within its few bits
        assert "masks" in name
        expected = np.stack([RED, GREEN, BLUE]) / 255
        fewest = 4 if "4-4-4" in name else 5 if "5-5-5" in name else 8
        np.testing.assert_allclose(found, expected, atol=1 / (2**fewest - 1) + 1 / 255)
        return
    assert found.shape == expected.shape
    if name in DEEP_COLOURS:  # Pillow keeps the upper eight bits of these
        np.testing.assert_array_equal(np.round(found * 65535).astype(int) >> 8, expected * 255)
        assert len(np.unique(found)) > len(np.unique(expected)) or name.startswith("tiff")
    else:
        np.testing.assert_allclose(found, expected, rtol=1e-6)


DEEP_COLOURS = [
    name for name in TABLE if "of 16 bits" in name or name.startswith("tiff deep RGB")
]  # fmt: skip


@pytest.mark.parametrize("name", sorted(REFUSED - set(BY_OPENCV)))
def test_unusual_kinds_are_refused_in_words(tmp_path, name, capfd):
    with pytest.raises(DataError, match=r"save it as a|known format"):
        read(tmp_path, TABLE[name])
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("name", BY_OPENCV)
def test_kinds_that_opencv_alone_refuses(tmp_path, name):
    with pytest.raises(DataError, match="OpenCV refuses it; save it as"):
        read(tmp_path, TABLE[name])


def test_no_format_is_read_with_noise(tmp_path, capfd):
    for name in set(TABLE) - REFUSED:
        read(tmp_path, TABLE[name])
    assert capfd.readouterr().err == ""


def test_fully_transparent_pixels_keep_their_colours(tmp_path):
    for kind, options in (("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True, "exact": True})):
        found = read(tmp_path, saved(RGBA, kind, **options))
        np.testing.assert_array_equal(
            found[:, 0], np.stack([RED, GREEN, BLUE])[:, 0] / np.float32(255)
        )


def test_bytes_that_cameras_leave_are_no_damage(tmp_path, capfd):
    whole = saved(RGB, "JPEG")
    found = read(tmp_path, whole[:-2] + bytes(40) + whole[-2:])
    np.testing.assert_array_equal(found, read(tmp_path, whole))
    assert capfd.readouterr().err == ""


def test_private_and_unsorted_tags_of_a_tiff_are_no_damage(tmp_path, capfd):
    tags = {
        256: (4, [W]), 257: (4, [H]), 258: (3, [8]), 259: (3, [1]), 262: (3, [1]), 277: (3, [1]),
        273: (4, [8]), 279: (4, [W * H]), 278: (4, [H]), 274: (3, [77]), 33550: (4, [5]),
        296: (3, [99]),
    }  # fmt: skip
    found = read(tmp_path, directory(RED.tobytes(), tags, "<"))
    np.testing.assert_array_equal(found[0], RED / np.float32(255))
    assert capfd.readouterr().err == ""


STRIPS = [name for name in TABLE if name.startswith(("tiff RGB tiff", "tiff RGB pack", "tiff L t"))]


@pytest.mark.parametrize("name", STRIPS)
def test_a_damaged_strip_is_told_from_a_whole_one(tmp_path, name):
    """libtiff goes on with other pixels and only logs it."""
    data, rng = TABLE[name], np.random.default_rng(3)
    whole, refused = read(tmp_path, data), 0
    for _ in range(40):
        at = int(rng.integers(8, len(data) // 2))  # Pillow writes the pixels after the tags
        at += len(data) // 2 - 8
        changed = data[:at] + bytes(12) + data[at + 12 :]
        try:
            assert read(tmp_path, changed).shape == whole.shape
        except DataError:
            refused += 1
    assert refused >= (10 if "packbits" in name else 25), refused


def test_images_are_read_in_threads_while_others_write_to_standard_error(tmp_path, capfd):
    """No lock, no descriptor taken: every line arrives, every image is whole."""
    import os

    kinds = ["jpeg RGB", "png RGBA", "tiff RGB tiff_lzw", "gif", "bmp RGB", "webp"]
    for name in kinds:
        (tmp_path / name).write_bytes(TABLE[name])
    expected = {name: load_image(tmp_path / name) for name in kinds}
    failed, lines = [], 300

    def work():
        for name in kinds * 10:
            try:
                np.testing.assert_array_equal(load_image(tmp_path / name), expected[name])
            except Exception as error:  # reported by the main thread
                failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(lines):
        os.write(2, b"premature end of data segment\n")
    for thread in threads:
        thread.join()
    assert not failed and capfd.readouterr().err.count("premature") == lines


def test_no_writable_folder_is_needed(tmp_path, monkeypatch):
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "nowhere"))
    assert read(tmp_path, TABLE["jpeg RGB"]).shape == (3, H, W)
