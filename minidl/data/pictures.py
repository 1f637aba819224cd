"""Images that are no array of floats in memory: pixels of 8 bits, or files read when needed.

A float32 takes four times the memory of the 8-bit pixel that it is made from. So the images of a
folder stay pixels until they are in a batch. Where even the pixels do not fit into memory, they
stay files, and a batch is decoded when it is asked for. Several threads do this at the same time,
because the decoders release Python's lock.

All kinds give the same floats for the same file, bit for bit: x = pixel / 255 (of 16 bits: 65535).
"""

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any, NamedTuple

import numpy as np

from .bar import progress_bar
from .images import unit

_CHUNK = 64  # images looked at in one go
_TO_16_BITS = 257  # 65535 / 255


class Facts(NamedTuple):
    """Numbers about each image, found in one pass over all images.

    hashes (N,): of its floats. sums, squares (N, C): exact sums of its pixels and of their squares,
    with pixels as numbers of 16 bits.
    """

    hashes: np.ndarray
    sums: np.ndarray
    squares: np.ndarray


class Pictures:
    """N images of one shape, for DataLoader and Dataset: like an array, but made batch by batch.

    shape, dtype: of all images as one array of floats. slow: whether a batch takes so long to get
    that the next one should be fetched in the meantime.
    """

    shape: tuple[int, ...]
    dtype = np.dtype(np.float32)
    slow = False

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def ndim(self) -> int:
        """4: N, C, H, W."""
        return len(self.shape)

    def pixels(self, index: np.ndarray) -> np.ndarray:
        """The images with these indices as pixels (n, C, H, W), uint8 or uint16."""
        raise NotImplementedError

    def floats(self, pixels: np.ndarray) -> np.ndarray:
        """The floats that a model gets for these pixels: in [0, 1], then transformed."""
        return unit(pixels)

    def rows(self, index: Any) -> np.ndarray:
        """The images with these indices as floats (n, C, H, W)."""
        return self.floats(self.pixels(self.places(index)))

    def places(self, index: Any) -> np.ndarray:
        """The indices that a slice, an int, an index array or a boolean mask stands for."""
        return np.arange(len(self))[index]

    def facts(self, progress: bool = False) -> Facts:
        """Hashes and sums of all images; transforms do not count. progress: show a bar."""
        found = []
        with progress_bar("look at images", len(self), show=progress) as advance:
            for start in range(0, len(self), _CHUNK):
                pixels = self.pixels(self.places(slice(start, start + _CHUNK)))
                found.append(facts_of(pixels))
                advance(len(pixels))
        return Facts(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


class Pixels(Pictures):
    """Images as an array of pixels, in memory or mapped from a file. Shapes: (N, C, H, W)."""

    def __init__(self, array: np.ndarray) -> None:
        self.array, self.shape = array, array.shape

    def pixels(self, index: np.ndarray) -> np.ndarray:
        return self.array[index]


class View(Pictures):
    """Some images of another Pictures, with transforms: for example a part, normalised.

    index: their indices in `base`. transforms: applied to each batch, in this order.
    """

    def __init__(
        self,
        base: Pictures,
        index: np.ndarray,
        transforms: tuple[Callable[[np.ndarray], np.ndarray], ...] = (),
    ) -> None:
        self.base: Pictures = base.base if isinstance(base, View) else base
        self.index: np.ndarray = base.index[index] if isinstance(base, View) else index
        self.transforms = transforms
        self.slow = base.slow
        self.shape = (len(index), *base.shape[1:])
        if transforms and len(index):
            example = self.rows(slice(0, 1))
            self.shape, self.dtype = (len(index), *example.shape[1:]), example.dtype

    def pixels(self, index: np.ndarray) -> np.ndarray:
        return self.base.pixels(self.index[index])

    def floats(self, pixels: np.ndarray) -> np.ndarray:
        images = self.base.floats(pixels)
        for transform in self.transforms:
            images = transform(images)
        return images

    def facts(self, progress: bool = False) -> Facts:
        """The facts of the pixels before the transforms."""
        return Facts(*(column[self.index] for column in self.base.facts(progress)))


def chosen(pictures: Pictures, index: Any) -> View:
    """The pictures with these indices, with the transforms that they have."""
    before = pictures.transforms if isinstance(pictures, View) else ()
    return View(pictures, pictures.places(index), before)


def changed(pictures: Pictures, transform: Callable[[np.ndarray], np.ndarray]) -> View:
    """The pictures with one more transform, which is applied batch by batch."""
    before = pictures.transforms if isinstance(pictures, View) else ()
    return View(pictures, pictures.places(slice(None)), (*before, transform))


def mean_and_deviation(pictures: Pictures) -> tuple[list[float], list[float]]:
    """(means, standard deviations) of the channels over all images in [0, 1], from exact sums.

    Transforms do not count.
    """
    facts = pictures.facts()
    _, _, height, width = pictures.shape
    n = len(pictures) * height * width
    mean, deviation = [], []
    for channel in range(facts.sums.shape[1]):
        total = sum(facts.sums[:, channel].tolist())  # Python's ints do not overflow
        squares = sum(facts.squares[:, channel].tolist())
        mean.append(total / (n * 65535))
        deviation.append(math.sqrt(n * squares - total * total) / (n * 65535))
    return mean, deviation


def image_digests(images: np.ndarray | Pictures) -> np.ndarray:
    """A hash of each image, uint64 (N,); for Pictures, of the images before their transforms."""
    if isinstance(images, Pictures):
        return images.facts().hashes
    hashes = (hashlib.blake2b(image.tobytes(), digest_size=8).digest() for image in images)
    return np.frombuffer(b"".join(hashes), "<u8")


def facts_of(pixels: np.ndarray) -> Facts:
    """The facts of these pixels (n, C, H, W)."""
    wide = pixels.astype(np.uint64)
    if pixels.dtype == np.uint8:
        wide *= _TO_16_BITS
    return Facts(image_digests(unit(pixels)), wide.sum(axis=(2, 3)), (wide * wide).sum(axis=(2, 3)))


def with_16_bits(pixels: np.ndarray) -> np.ndarray:
    """The same colours as numbers of 16 bits: 257·v / 65535 is v / 255."""
    if pixels.dtype == np.uint16:
        return pixels
    return pixels.astype(np.uint16) * np.uint16(_TO_16_BITS)


def look_ahead(
    fetch: Callable[[np.ndarray], np.ndarray], batches: Sequence[np.ndarray], ahead: int
) -> Iterator[np.ndarray]:
    """fetch(batch) for each batch in order; a thread fetches up to `ahead` batches in advance."""
    with ThreadPoolExecutor(1, "minidl-ahead") as pool:
        waiting = [pool.submit(fetch, batch) for batch in batches[:ahead]]
        try:
            for number in range(len(batches)):
                wait([waiting[0]])
                if number + ahead < len(batches):
                    waiting.append(pool.submit(fetch, batches[number + ahead]))
                yield waiting.pop(0).result()  # no name here keeps it while it is in use
        finally:
            pool.shutdown(cancel_futures=True)
