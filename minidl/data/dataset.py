"""Images with their labels."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ..errors import ConfigError, DataError, DTypeError, ShapeError


class Dataset:
    """Images, their labels, and the names of the classes.

    Shapes: images (N, C, H, W), float32 or float64 (integers are refused: `scale` turns 0..255
    into [0, 1]); labels (N,), kept as int64; the label k means `classes[k]`. Without `classes`
    the names are "0", "1", ... up to the largest label. The arrays are not copied.
    Raises: DTypeError, ShapeError for arrays of the wrong kind; DataError if there are no
    images, if a label has no class, or if an image holds NaN or infinity.
    """

    def __init__(
        self,
        images: np.ndarray,
        labels: Sequence[int] | np.ndarray,
        classes: Sequence[str] | None = None,
        name: str = "",
    ) -> None:
        self.images = _checked_images(images)
        self.labels = _checked_labels(labels, len(self.images))
        largest = int(self.labels.max())
        names = range(largest + 1) if classes is None else classes
        self.classes: tuple[str, ...] = tuple(str(label) for label in names)
        self.name = name
        if largest >= len(self.classes) or self.labels.min() < 0:
            raise DataError(
                f"Dataset: expected labels from 0 to {len(self.classes) - 1} (there are "
                f"{len(self.classes)} classes), got labels from {self.labels.min()} to {largest}"
            )

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        return (
            f"<Dataset {self.name or 'without a name'}: {len(self):,} images "
            f"{self.images.shape[1:]} {self.images.dtype}, {len(self.classes)} classes>"
        )

    def __iter__(self) -> Iterator[tuple[np.ndarray, int]]:
        return ((image, int(label)) for image, label in zip(self.images, self.labels, strict=True))

    def __getitem__(self, index: Any) -> Any:
        """(image, label) for an int; a Dataset for a slice, an index array or a boolean mask."""
        try:
            images, labels = self.images[index], self.labels[index]
        except (IndexError, TypeError, ValueError) as error:
            raise DataError(f"Dataset: no such index among {len(self)} images: {error}") from None
        if np.ndim(labels) == 0:
            return images, int(labels)
        return self._with(images, labels)

    def split(self, fraction: float, seed: int = 0) -> tuple["Dataset", "Dataset"]:
        """(rest, held out): hold out a `fraction` of the images, drawn with `seed`.

        Stratified: round(fraction * N) images are held out, and of each class its share to
        within one image. Both parts keep the order of the images.
        Raises: ConfigError unless 0 < fraction < 1; DataError if a part would be empty.
        """
        if not 0 < fraction < 1:
            raise ConfigError(f"split: expected a fraction between 0 and 1, got {fraction!r}")
        held_out = round(fraction * len(self))
        if held_out in (0, len(self)):
            raise DataError(
                f"split: a fraction of {fraction} holds out {held_out} of {len(self)} images and "
                "leaves one part empty; choose another fraction or give more images"
            )
        shuffled = seeded(seed).permutation(len(self))
        by_class = shuffled[np.argsort(self.labels[shuffled], kind="stable")]
        every = (np.arange(held_out) * len(self) + len(self) // 2) // held_out
        chosen = np.zeros(len(self), dtype=bool)
        chosen[by_class[every]] = True
        return self[~chosen], self[chosen]

    def map(self, transform: Callable[[np.ndarray], np.ndarray]) -> "Dataset":
        """The same labels with transform(images); for example `data.map(normalize(0.5, 0.2))`."""
        return self._with(transform(self.images), self.labels)

    def _with(self, images: np.ndarray, labels: np.ndarray) -> "Dataset":
        return Dataset(images, labels, self.classes, self.name)


def seeded(seed: int, *spawn_key: int) -> np.random.Generator:
    """A generator for this seed and place. Raises: ConfigError for a negative seed."""
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ConfigError(f"seed: expected an int of at least 0, got {seed!r}")
    return np.random.default_rng(np.random.SeedSequence(int(seed), spawn_key=spawn_key))


def to_float(images: np.ndarray) -> str:
    """How images of another dtype become what is expected."""
    if images.dtype.kind == "f":
        return "images.astype(np.float32) converts them"
    return "md.data.scale(images) turns 0..255 into float32 in [0, 1]"


def _checked_images(images: np.ndarray) -> np.ndarray:
    images = np.asarray(images)
    if images.dtype not in (np.float32, np.float64):
        raise DTypeError(
            f"Dataset: expected images of float32 or float64, got {images.dtype}; "
            f"{to_float(images)}"
        )
    if images.ndim != 4:
        raise ShapeError(f"Dataset: expected images of shape (N, C, H, W), got {images.shape}")
    if images.size == 0:
        raise DataError(f"Dataset: expected at least one image, got shape {images.shape}")
    with np.errstate(over="ignore", invalid="ignore"):
        total = images.sum()  # NaN and infinity survive a sum: no second array for clean images
    if not np.isfinite(total):
        counts = (~np.isfinite(images)).sum(axis=(1, 2, 3))
        bad = np.flatnonzero(counts)
        if bad.size:
            listed = ", ".join(f"image {i} ({counts[i]} pixel values)" for i in bad[:5])
            raise DataError(
                f"Dataset: expected finite images, got NaN or infinity in {bad.size} of "
                f"{len(images)} images: {listed}{', ...' if bad.size > 5 else ''}; repair or drop "
                "them"
            )
    return images


def _checked_labels(labels: Sequence[int] | np.ndarray, count: int) -> np.ndarray:
    array = np.asarray(labels)
    if array.ndim != 1 or len(array) != count:
        raise ShapeError(
            f"Dataset: expected one label for each of {count} images, shape ({count},), "
            f"got shape {array.shape}"
        )
    if not np.issubdtype(array.dtype, np.integer):
        raise DTypeError(f"Dataset: expected integer labels, got {array.dtype}")
    return array.astype(np.int64)
