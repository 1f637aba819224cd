"""load_image: the values of every format, and every file that must be refused."""

import os
import struct
import sys
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from minidl.data import load_image, to_gray
from minidl.data.header import read_header
from minidl.errors import ConfigError, DataError, MinidlError

RGB = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
SMOOTH = cv2.GaussianBlur(
    np.random.default_rng(1).integers(0, 256, (40, 60, 3), np.uint8), (0, 0), 3
)


def encode(end, rgb, *options):
    done, buffer = cv2.imencode(end, rgb[..., ::-1] if rgb.ndim == 3 else rgb, list(options))
    assert done
    return buffer.tobytes()


def write(folder, name, data):
    path = folder / name
    path.write_bytes(data)
    return path


def png_chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width, height, depth, color, body, *chunks):
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(body)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*part) for part in parts)


VALID = {
    "png": encode(".png", RGB),
    "jpg": encode(".jpg", SMOOTH),
    "progressive.jpg": encode(".jpg", SMOOTH, cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    "bmp": encode(".bmp", RGB),
    "gif": encode(".gif", RGB),
    "webp": encode(".webp", SMOOTH, cv2.IMWRITE_WEBP_QUALITY, 90),
    "lossless.webp": encode(".webp", RGB, cv2.IMWRITE_WEBP_QUALITY, 101),
    "tif": encode(".tif", RGB),
}
BYTES = list(VALID.values())


@pytest.mark.parametrize("name", ["png", "bmp", "tif", "lossless.webp"])
def test_lossless_formats_give_the_exact_pixels(tmp_path, name):
    image = load_image(write(tmp_path, f"x.{name}", VALID[name]))
    assert image.dtype == np.float32 and image.shape == (3, 6, 9) and image.flags.c_contiguous
    np.testing.assert_array_equal(image, RGB.transpose(2, 0, 1) / np.float32(255))


@pytest.mark.parametrize("name", ["jpg", "progressive.jpg", "webp"])
def test_lossy_formats_come_close_in_rgb_order(tmp_path, name):
    image = load_image(write(tmp_path, f"x.{name}", VALID[name]))
    assert np.abs(image - SMOOTH.transpose(2, 0, 1) / 255).mean() < 0.02


def test_gif_is_read(tmp_path):
    image = load_image(write(tmp_path, "x.gif", VALID["gif"]))
    assert image.shape == (3, 6, 9)
    assert np.abs(image - RGB.transpose(2, 0, 1) / 255).mean() < 0.15


@pytest.mark.parametrize("name", VALID)
def test_header_knows_the_size(name):
    big = name in ("jpg", "progressive.jpg", "webp")
    assert read_header(VALID[name])[1:3] == ((40, 60) if big else (6, 9))


def test_sixteen_bits_are_divided_by_65535(tmp_path):
    deep = np.array([[0, 1, 65535], [256, 40000, 300]], np.uint16)
    image = load_image(write(tmp_path, "x.png", encode(".png", deep)), gray=True)
    np.testing.assert_array_equal(image, deep[None] / np.float32(65535))


def test_alpha_is_dropped_and_the_stored_colours_remain(tmp_path):
    rows = b"".join(b"\0" + bytes((10, 200, 30, 0)) * 2 for _ in range(3))
    image = load_image(write(tmp_path, "x.png", png(2, 3, 8, 6, rows)))
    assert image.shape == (3, 3, 2)
    np.testing.assert_allclose(image[:, 0, 0] * 255, (10, 200, 30), rtol=1e-6)


def test_palette_becomes_rgb(tmp_path):
    data = png(2, 1, 8, 3, b"\0\0\1", (b"PLTE", bytes((255, 0, 0, 0, 0, 255))))
    image = load_image(write(tmp_path, "x.png", data))
    np.testing.assert_array_equal(image[:, 0], [[1, 0], [0, 0], [0, 1]])


def test_gray_is_exact_for_a_gray_file_and_agrees_with_to_gray(tmp_path):
    plane = RGB[:, :, 0]
    image = load_image(write(tmp_path, "g.png", encode(".png", plane)), gray=True)
    np.testing.assert_array_equal(image, plane[None] / np.float32(255))
    path = write(tmp_path, "c.png", VALID["png"])
    gray = to_gray(load_image(path)[None])[0]
    np.testing.assert_allclose(load_image(path, gray=True), gray, atol=0.51 / 255 + 1e-6)


def test_cmyk_jpeg_becomes_rgb(tmp_path):
    image = pytest.importorskip("PIL.Image")
    path = tmp_path / "x.jpg"
    image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(path)
    np.testing.assert_allclose(load_image(path)[:, 8, 8], (1, 0, 0), atol=0.03)


def test_camera_rotation_is_applied(tmp_path):
    """Orientation 6: the stored rows are the columns of the picture, to be turned clockwise."""
    entry = struct.pack("<HHII", 0x0112, 3, 1, 6)
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + entry + bytes(4)
    segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    data = VALID["jpg"][:2] + segment + VALID["jpg"][2:]
    turned = load_image(write(tmp_path, "turned.jpg", data))
    plain = load_image(write(tmp_path, "plain.jpg", VALID["jpg"]))
    np.testing.assert_array_equal(turned, np.rot90(plain, -1, axes=(1, 2)))


def test_size_takes_area_averages_and_an_int_or_a_pair(tmp_path):
    pixels = np.zeros((4, 4), np.uint8)
    pixels[:2, :2] = [[0, 40], [80, 120]]
    path = write(tmp_path, "x.png", encode(".png", pixels))
    np.testing.assert_allclose(load_image(path, gray=True, size=2)[0] * 255, [[60, 0], [0, 0]])
    assert load_image(path, size=(3, 7)).shape == (3, 3, 7)


@pytest.mark.parametrize("size", [0, -1, 2.5, (3,), (3, 0), True, "8", 10**6])
def test_impossible_sizes_are_refused(tmp_path, size):
    path = write(tmp_path, "x.png", VALID["png"])
    with pytest.raises(ConfigError, match="size"):
        load_image(path, size=size)


def test_names_beyond_ascii(tmp_path):
    assert load_image(write(tmp_path, "Bärchen 猫.png", VALID["png"])).shape == (3, 6, 9)


@pytest.mark.parametrize("name", VALID)
@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.9, 0.99])
def test_a_file_cut_short_is_refused_without_noise(tmp_path, capfd, name, share):
    data = VALID[name]
    path = write(tmp_path, f"x.{name}", data[: int(len(data) * share)])
    with pytest.raises(DataError, match="load_image: expected a readable image at"):
        load_image(path)
    assert capfd.readouterr().err == ""


def test_a_jpeg_cut_in_the_middle_with_its_end_put_back_is_refused(tmp_path, capfd):
    """The decoder fills the rest with grey and only whispers of it on standard error."""
    data = VALID["jpg"]
    path = write(tmp_path, "x.jpg", data[: int(len(data) * 0.7)] + b"\xff\xd9")
    with pytest.raises(DataError, match="damaged"):
        load_image(path)
    assert capfd.readouterr().err == ""


def test_a_jpeg_with_bytes_after_its_end_is_read(tmp_path):
    assert load_image(write(tmp_path, "x.jpg", VALID["jpg"] + b"trailer")).shape == (3, 40, 60)


def test_one_flipped_bit_in_a_png_is_found(tmp_path):
    data = bytearray(VALID["png"])
    data[data.index(b"IDAT") + 20] ^= 1
    with pytest.raises(DataError, match="checksum in its b'IDAT'"):
        load_image(write(tmp_path, "x.png", data))


@pytest.mark.parametrize(
    "data",
    [
        png(60_000, 60_000, 8, 2, b""),
        b"GIF89a" + struct.pack("<HH", 65535, 65535) + bytes(20),
        b"BM" + bytes(12) + struct.pack("<Iii", 40, 50_000, -50_000) + bytes(30),
        b"II*\0\x08\0\0\0\2\0"
        + struct.pack("<HHII", 256, 4, 1, 99_999)
        + struct.pack("<HHII", 257, 4, 1, 99_999)
        + bytes(4),
    ],
)
def test_a_decompression_bomb_is_refused_by_its_header(tmp_path, monkeypatch, data):
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded a bomb"))
    with pytest.raises(DataError, match=r"claims .* pixels"):
        load_image(write(tmp_path, "x", data))


def test_what_is_not_an_image_file(tmp_path):
    for path, reason in [
        (tmp_path / "nowhere.png", "no such file"),
        (tmp_path, "is a folder"),
        (write(tmp_path, "empty.png", b""), "empty"),
        (write(tmp_path, "notes.png", b"Dear diary"), "known format"),
        (os.devnull, "not a regular file"),
        ("a\0b", "null"),
    ]:
        with pytest.raises(DataError, match=reason) as caught:
            load_image(path)
        assert caught.value.files[0][0] == str(path)


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    path = write(tmp_path, "x.png", VALID["png"])
    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(DataError, match="Permission denied"):
        load_image(path)


def test_float_images_are_refused(tmp_path):
    path = tmp_path / "x.tif"
    cv2.imwrite(str(path), np.ones((4, 4, 3), np.float32))
    with pytest.raises(DataError, match="float32 values, but 8 or 16 bits"):
        load_image(path)


def test_without_opencv_the_error_says_what_to_install(tmp_path, monkeypatch):
    path = write(tmp_path, "x.png", VALID["png"])
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(DataError, match="pip install opencv-python-headless"):
        load_image(path)


def survives(folder, data):
    """Whatever the bytes, load_image gives a sound image or a MinidlError."""
    path = write(folder, "fuzz", data)
    try:
        image = load_image(path)
    except MinidlError:
        return
    assert image.dtype == np.float32 and image.shape[0] == 3
    assert image.min() >= 0 and image.max() <= 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


SIGNATURES = [b"", *(data[:30] for data in BYTES), b"MM\0*", b"RIFF\x20\0\0\0WEBPVP8X"]


@settings(deadline=None)
@given(signature=st.sampled_from(SIGNATURES), rest=st.binary(max_size=200))
@example(signature=b"II*\0\xff\xff\xff\xff", rest=b"")
@example(signature=b"\xff\xd8\xff\xc0\0\0", rest=b"\xff\xd9")
def test_fuzz_any_bytes(folder, signature, rest):
    survives(folder, signature + rest)


@settings(deadline=None)
@given(
    data=st.sampled_from(BYTES),
    flips=st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 255)), max_size=6),
    keep=st.floats(0, 1) | st.just(1.0),
)
def test_fuzz_flipped_and_cut_files(folder, data, flips, keep):
    changed = bytearray(data)
    for place, bits in flips:
        changed[place % len(changed)] ^= bits
    survives(folder, changed[: round(keep * len(changed))])
