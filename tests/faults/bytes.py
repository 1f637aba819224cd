"""Whole files of every kind that is read, and Hypothesis strategies that damage them."""

import cv2
import numpy as np
from hypothesis import strategies as st

_NOISE = np.random.default_rng(0).integers(0, 256, (9, 12, 3), np.uint8)
_SMOOTH = cv2.GaussianBlur(_NOISE, (0, 0), 2)


def _encode(end, pixels, *options):
    done, buffer = cv2.imencode(end, pixels, list(options))
    assert done
    return buffer.tobytes()


IMAGES = {
    "png": _encode(".png", _NOISE),
    "16.png": _encode(".png", _NOISE.astype(np.uint16) * 257),
    "grey.png": _encode(".png", _NOISE[..., 0]),
    "jpg": _encode(".jpg", _SMOOTH),
    "progressive.jpg": _encode(".jpg", _SMOOTH, cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    "bmp": _encode(".bmp", _NOISE),
    "gif": _encode(".gif", _SMOOTH),
    "webp": _encode(".webp", _SMOOTH, cv2.IMWRITE_WEBP_QUALITY, 90),
    "lossless.webp": _encode(".webp", _NOISE, cv2.IMWRITE_WEBP_QUALITY, 101),
    "tif": _encode(".tif", _NOISE),
    "plain.tif": _encode(".tif", _NOISE, cv2.IMWRITE_TIFF_COMPRESSION, 1),
}

_WORDS = st.sampled_from(
    [b"\0", b"\xff", b"\x7f", b"\x80", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff",
     b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\x80\0\0\0", b"\1\0\0\0", b"\0\0\0\1"]
)  # fmt: skip


@st.composite
def mutated(draw, files):
    """A whole file with up to six bytes or words changed, put in, or left out, or its end cut."""
    content = bytearray(draw(st.sampled_from(files)))
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, max(0, len(content) - 1)))
        # Most of what a reader decides stands at the beginning.
        at = at % 64 if draw(st.booleans()) else at
        new = draw(_WORDS | st.binary(min_size=1, max_size=8))
        how = draw(st.sampled_from(["change", "put in", "leave out", "cut"]))
        if how == "change":
            content[at : at + len(new)] = new
        elif how == "put in":
            content[at:at] = new
        elif how == "leave out":
            del content[at : at + len(new)]
        elif draw(st.booleans()):
            del content[at:]
    return bytes(content)


def damaged(files):
    """Mutated files, halves of two of them, and any bytes."""
    files = list(files)
    halves = st.tuples(*[st.sampled_from(files), st.integers(0, 200)] * 2).map(
        lambda parts: parts[0][: parts[1]] + parts[2][parts[3] :]
    )
    return mutated(files) | mutated(files) | halves | st.binary(max_size=200)
