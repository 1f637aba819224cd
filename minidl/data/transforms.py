"""Transforms: functions that change images (N, C, H, W) before a model sees them.

Each returns a new array of the same float dtype. The random ones (`.random` is true) take a NumPy
generator as their second argument; DataLoader gives them one.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from ..checks import check
from ..errors import ConfigError, DataError, DTypeError, ShapeError
from .dataset import Dataset, to_float
from .images import Size, height_width, resize_plane
from .pictures import Pictures, mean_and_deviation


class Transform:
    """A named function of images, or of images and a generator if it is random.

    apply: a function at the top of a module, with its options bound by functools.partial, so that a
    transform can be pickled and copied. name: for errors and the repr. by_image: whether it treats
    each image by itself.
    Raises: when called, DTypeError, ShapeError unless images are floats (N, C, H, W); ConfigError
    for a random transform without a generator.
    """

    def __init__(
        self,
        apply: Callable[..., np.ndarray],
        name: str,
        *,
        random: bool = False,
        by_image: bool = True,
    ) -> None:
        self._apply = apply
        self._name = name
        self.random = random
        self.by_image = by_image

    def __call__(
        self, images: np.ndarray, generator: np.random.Generator | None = None
    ) -> np.ndarray:
        images = _float_images(images, self._name)
        if not self.random:
            return self._apply(images)
        if generator is None:
            raise ConfigError(
                f"{self._name}: expected a NumPy generator as the second argument; pass "
                "np.random.default_rng(seed), or give the transform to a DataLoader"
            )
        return self._apply(images, generator)

    def __repr__(self) -> str:
        return self._name


class Normalize(Transform):
    """y[:, c] = (x[:, c] - mean[c]) / std[c]; made by `normalize` or `standardize`."""

    def __init__(self, mean: np.ndarray, std: np.ndarray) -> None:
        self.mean = mean
        self.std = std
        super().__init__(self._normalize, f"normalize(mean={mean.tolist()}, std={std.tolist()})")

    def _normalize(self, images: np.ndarray) -> np.ndarray:
        channels = images.shape[1]
        if len(self.mean) not in (1, channels):
            raise ShapeError(
                f"normalize: expected images with {len(self.mean)} channels, as mean and std "
                f"have, got images of shape {images.shape}"
            )
        mean, std = (
            value.astype(images.dtype).reshape(1, -1, 1, 1) for value in (self.mean, self.std)
        )
        return (images - mean) / std

    def undo(self, images: np.ndarray) -> np.ndarray:
        """The images before they were normalised, up to rounding."""
        mean, std = (
            value.astype(images.dtype).reshape(1, -1, 1, 1) for value in (self.mean, self.std)
        )
        return images * std + mean

    def to_config(self) -> dict[str, list[float]]:
        """Plain numbers for a JSON file; `normalize(**config)` makes the transform again."""
        return {"mean": self.mean.tolist(), "std": self.std.tolist()}


def normalize(mean: float | Sequence[float], std: float | Sequence[float]) -> Normalize:
    """(x - mean) / std for each channel; one number serves all channels.

    Raises: ConfigError unless mean and std are finite in float32, of one length, every std above 0.
    """
    try:
        means, stds = np.broadcast_arrays(
            *(np.atleast_1d(np.asarray(value, np.float64)) for value in (mean, std))
        )
        with np.errstate(over="ignore"):  # images are float32
            single = np.array([means, stds], np.float32)
        valid = (
            means.ndim == 1 and means.size and np.isfinite(single).all() and (single[1] > 0).all()
        )
    except (TypeError, ValueError, OverflowError):
        valid = False
    if not valid:
        raise ConfigError(
            "normalize: expected a finite mean and a positive std, one number or one for each "
            f"channel, got mean={mean!r} and std={std!r}"
        )
    return Normalize(means.copy(), stds.copy())


def standardize(images: np.ndarray | Dataset) -> Normalize:
    """Fit `normalize` to images: each channel then has mean 0 and standard deviation 1 there.

    Fit it to the training part only: the test part must not influence the model's input.
    images: an array (N, C, H, W), or a Dataset of images; those of a folder are read batch by
    batch.
    Numerics: mean and std in float64, std over all N * H * W values; from exact sums where the
    images are pixels of 8 or 16 bits.
    Raises: DataError if a channel is constant (its std is 0).
    """
    source = images.source if isinstance(images, Dataset) else images
    if isinstance(source, Pictures) and not getattr(source, "transforms", ()):
        mean, std = mean_and_deviation(source)
    else:
        source = (
            images.images if isinstance(images, Dataset) else _float_images(source, "standardize")
        )
        mean, std = [], []
        for index in range(source.shape[1]):
            channel = source[:, index]  # one channel at a time: std works on a float64 copy
            constant = channel.size == 0 or channel.min() == channel.max()
            mean.append(0.0 if constant else float(channel.mean(dtype=np.float64)))
            std.append(0.0 if constant else float(channel.std(dtype=np.float64)))
    if 0.0 in std:
        raise DataError(
            f"standardize: expected values that vary, but channel {std.index(0.0)} of images of "
            f"shape {source.shape} is constant; drop it, use normalize(mean, std) with a std of "
            "your own, or train without standardising (--no-standardize)"
        )
    return normalize(mean, std)


def scale(images: np.ndarray) -> np.ndarray:
    """y = x / 255: pixels from 0..255 to [0, 1]. Integers become float32, floats keep their dtype.

    Raises: DataError for values outside 0..255.
    """
    images = np.asarray(images)
    if images.dtype.kind not in "iuf":
        raise DTypeError(f"scale: expected numbers from 0 to 255, got {images.dtype}")
    dtype = images.dtype if images.dtype in (np.float32, np.float64) else np.dtype(np.float32)
    known = images.dtype == np.uint8 or images.size == 0
    if not known and not (images.min() >= 0 and images.max() <= 255):
        raise DataError(
            f"scale: expected values from 0 to 255, got {images.min()} to {images.max()}"
        )
    return np.divide(images, 255, dtype=dtype)


def to_gray(images: np.ndarray) -> np.ndarray:
    """y = 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601): (N, 3, H, W) to (N, 1, H, W).

    Grey images pass unchanged.
    """
    images = _float_images(images, "to_gray")
    if images.shape[1] == 1:
        return images
    if images.shape[1] != 3:
        raise ShapeError(f"to_gray: expected 3 channels (or 1), got images of {images.shape}")
    red, green, blue = (images[:, c : c + 1] for c in range(3))
    return 0.299 * red + 0.587 * green + 0.114 * blue


def resize(size: Size) -> Transform:
    """Stretch images to `size`, an int for a square or (height, width): area averages where they
    shrink, else linear interpolation. Raises: ConfigError for a size that is not positive.
    """
    shape = height_width(size, "resize")
    return Transform(partial(_resize, shape), f"resize({shape})")


def _resize(shape: tuple[int, int], images: np.ndarray) -> np.ndarray:
    resized = np.empty((*images.shape[:2], *shape), images.dtype)
    for index in np.ndindex(images.shape[:2]):
        resized[index] = resize_plane(images[index], shape)
    return resized


def random_crop(size: Size, padding: int = 0) -> Transform:
    """Pad each side with `padding` pixels of 0, then cut a window of `size` at a random place of
    each image.

    Raises: ConfigError for a wrong size or padding; when called, ShapeError if the window is larger
    than the padded image.
    """
    window = height_width(size, "random_crop")
    check("random_crop", "an int >= 0", padding=padding)
    name = f"random_crop({window}, padding={padding})"
    return Transform(partial(_crop, window, int(padding)), name, random=True)


def _crop(
    window: tuple[int, int], padding: int, images: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    height, width = window
    count, channels = images.shape[:2]
    sides = (padding, padding)
    padded = np.pad(images, ((0, 0), (0, 0), sides, sides))
    free = (padded.shape[2] - height, padded.shape[3] - width)
    if min(free) < 0:
        raise ShapeError(
            f"random_crop: expected images of at least {height}x{width} after {padding} "
            f"pixels of padding, got images of shape {images.shape}"
        )
    cropped = np.empty((count, channels, height, width), images.dtype)
    for i, (top, left) in enumerate(generator.integers(free, size=(count, 2), endpoint=True)):
        cropped[i] = padded[i, :, top : top + height, left : left + width]
    return cropped


def random_flip(p: float = 0.5) -> Transform:
    """Mirror each image left to right with probability p.

    Raises: ConfigError unless 0 <= p <= 1.
    """
    if not 0 <= p <= 1:
        raise ConfigError(f"random_flip: expected a probability p from 0 to 1, got {p!r}")
    return Transform(partial(_flip, p), f"random_flip({p})", random=True)


def _flip(p: float, images: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    mirrored = generator.random(len(images)) < p
    return np.where(mirrored[:, None, None, None], images[..., ::-1], images)


def compose(*transforms: Callable[..., np.ndarray]) -> Transform:
    """One transform after another, from left to right; random if one of them is."""
    names = ", ".join(getattr(t, "__name__", repr(t)) for t in transforms)
    random = any(getattr(t, "random", False) for t in transforms)
    apart = all(getattr(t, "by_image", t in (scale, to_gray)) for t in transforms)
    apply = partial(_compose, transforms)
    return Transform(apply, f"compose({names})", random=random, by_image=apart)


def _compose(
    transforms: tuple[Callable[..., np.ndarray], ...],
    images: np.ndarray,
    generator: np.random.Generator | None = None,
) -> np.ndarray:
    for transform in transforms:
        random = getattr(transform, "random", False)
        images = transform(images, generator) if random else transform(images)
    return images


def _float_images(images: Any, call: str) -> np.ndarray:
    images = np.asarray(images)
    if images.dtype not in (np.float32, np.float64):
        raise DTypeError(
            f"{call}: expected images of float32 or float64, got {images.dtype}; {to_float(images)}"
        )
    if images.ndim != 4:
        raise ShapeError(
            f"{call}: expected images of shape (N, C, H, W), got {images.shape}; "
            "write image[None] for a single image"
        )
    return images
