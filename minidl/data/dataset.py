"""Inputs with their targets: images with labels, or any other arrays."""

from collections.abc import Callable, Iterator, Sequence
from html import escape
from typing import Any

import numpy as np

from ..arrays import as_array
from ..device import to_host
from ..errors import ConfigError, DataError, DTypeError, ShapeError
from .pictures import Pictures, changed, chosen

_LISTED = 20  # classes that a notebook shows
_LARGEST = np.iinfo(np.int64).max  # labels are kept as integers of this type
_MOST = 100_000  # whole numbers from here on are numbers to predict, such as prices, not classes


class Dataset:
    """Inputs and targets, row by row: images, their labels, and the names of the classes.

    images: the inputs, of any number of axes. Images are (N, C, H, W).
    labels: the targets. Whole numbers (N,) are class labels: they are kept as int64, label k
    means `classes[k]`, and without `classes` the names are "0", "1", ... up to the largest label.
    Without `classes`, labels of 100,000 or more are numbers to predict, and `classes` is empty.
    True and False are the labels 1 and 0. Targets of any other dtype or shape (numbers to
    predict, images, sequences) are kept as they are, and `classes` is empty.
    Both may be arrays of NumPy, CuPy, pandas or PyTorch, tensors, or lists. NumPy arrays are not
    copied. The images of a folder are kept as pixels of 8 bits, or in their files, and become
    floats where they are used: `rows(index)` gives some of them, `.images` all at once.
    Shapes: images (N, ...), float32 or float64, or integers that are no pixels (`scale` turns
    pixels 0..255 into [0, 1]); labels (N, ...).
    Raises: DTypeError, ShapeError for arrays of the wrong kind; DataError if there are no
    images, if a label has no class, or if an input or a target holds NaN or infinity.
    """

    def __init__(
        self,
        images: Any,
        labels: Any,
        classes: Sequence[str] | None = None,
        name: str = "",
    ) -> None:
        self.source: np.ndarray | Pictures = _checked_inputs(images)
        self.labels: np.ndarray = _checked_targets(labels, len(self.source))
        self.name = name
        self.paths: tuple[str, ...] = ()  # the file of each image, where they came from files
        self.classes: tuple[str, ...] = ()
        if self.labels.ndim == 1 and self.labels.dtype.kind == "i":
            self.classes = self._class_names(classes)
        elif classes is not None:
            raise DataError(
                f"Dataset: expected classes only with class labels, whole numbers ({len(self)},), "
                f"got targets of {self.labels.dtype} {self.labels.shape}; leave classes out"
            )

    def _class_names(self, classes: Sequence[str] | None) -> tuple[str, ...]:
        least, largest = int(self.labels.min()), int(self.labels.max())
        if classes is None and least >= 0 and largest >= _MOST:
            return ()
        names = tuple(map(str, range(largest + 1) if classes is None else classes))
        if least < 0 or largest >= len(names):
            raise DataError(
                f"Dataset: expected labels from 0 to {len(names) - 1} (there are {len(names)} "
                f"classes), got labels from {least} to {largest}"
            )
        return names

    @property
    def images(self) -> np.ndarray:
        """All inputs as one array. For the images of a folder it is made anew at each use."""
        return self.source if isinstance(self.source, np.ndarray) else self.rows(slice(None))

    @images.setter
    def images(self, images: np.ndarray) -> None:
        self.source = images

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of `.images`."""
        return self.source.shape

    def rows(self, index: Any) -> np.ndarray:
        """`images[index]`, without making the others."""
        source = self.source
        return source[index] if isinstance(source, np.ndarray) else source.rows(index)

    def __len__(self) -> int:
        return len(self.source)

    def __repr__(self) -> str:
        return f"<Dataset {self.name or 'without a name'}: {', '.join(self._summary())}>"

    def _repr_html_(self) -> str:
        """The same for a notebook, with the images of each class counted."""
        rows = "".join(f"<li>{escape(line)}</li>" for line in self._summary())
        if self.classes:
            counts = np.bincount(self.labels, minlength=len(self.classes))
            pairs = zip(self.classes[:_LISTED], counts.tolist(), strict=False)
            listed = ", ".join(f"{name}: {count:,}" for name, count in pairs)
            rows += f"<li>{escape(listed)}{', ...' if len(counts) > _LISTED else ''}</li>"
        return f"<b>Dataset {escape(self.name)}</b><ul>{rows}</ul>"

    def _summary(self) -> list[str]:
        kind = "images" if len(self.shape) == 4 else "inputs"
        parts = [f"{len(self):,} {kind} {self.shape[1:]} {self.source.dtype}"]
        if self.classes:
            return [*parts, f"{len(self.classes)} classes"]
        return [*parts, f"targets {self.labels.shape[1:]} {self.labels.dtype}"]

    def __iter__(self) -> Iterator[tuple[np.ndarray, Any]]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: Any) -> Any:
        """(input, target) for an int; a Dataset for a slice, an index array or a boolean mask."""
        try:
            if isinstance(index, tuple):
                raise IndexError("one index is expected")
            labels = self.labels[index]
            if isinstance(self.source, np.ndarray):
                images: Any = self.source[index]
            elif np.ndim(labels) < self.labels.ndim:
                images = self.source.rows([index])[0]
            else:
                images = chosen(self.source, index)
        except (IndexError, TypeError, ValueError) as error:
            raise DataError(f"Dataset: no such index among {len(self)} rows: {error}") from None
        if images.ndim < len(self.shape):
            return images, int(labels) if self.classes else labels
        paths = tuple(np.array(self.paths, object)[index]) if self.paths else ()
        return self._with(images, labels, paths)

    def split(self, fraction: float, seed: int = 0) -> tuple["Dataset", "Dataset"]:
        """(rest, held out): hold out a `fraction` of the rows, drawn with `seed`.

        round(fraction * N) rows are held out. Where there are classes, each gives its share, to
        within one image (the split is stratified). Both parts keep the order of the rows.
        Raises: ConfigError unless 0 < fraction < 1; DataError if a part would be empty.
        """
        number = isinstance(fraction, int | float | np.integer | np.floating)
        if not number or not 0 < fraction < 1:
            raise ConfigError(f"split: expected a fraction between 0 and 1, got {fraction!r}")
        held_out = round(fraction * len(self))
        if held_out in (0, len(self)):
            raise DataError(
                f"split: a fraction of {fraction} holds out {held_out} of {len(self)} rows and "
                "leaves one part empty; choose another fraction or give more rows"
            )
        shuffled = seeded(seed).permutation(len(self))
        if self.classes:
            shuffled = shuffled[np.argsort(self.labels[shuffled], kind="stable")]
        every = (np.arange(held_out) * len(self) + len(self) // 2) // held_out
        chosen = np.zeros(len(self), dtype=bool)
        chosen[shuffled[every]] = True
        return self[~chosen], self[chosen]

    def map(self, transform: Callable[[np.ndarray], np.ndarray]) -> "Dataset":
        """The same targets with transform(images); for example `data.map(normalize(0.5, 0.2))`.

        Where the transform treats each image by itself, as minidl's own do, the images of a folder
        are transformed batch by batch, each time that they are used.
        """
        by_image = getattr(transform, "by_image", False) and not getattr(transform, "random", False)
        if isinstance(self.source, np.ndarray) or not by_image:
            return self._with(transform(self.images), self.labels, self.paths)
        return self._with(changed(self.source, transform), self.labels, self.paths)

    def _with(self, images: Any, labels: np.ndarray, paths: tuple[str, ...]) -> "Dataset":
        new = Dataset(images, labels, self.classes or None, self.name)
        new.paths = paths
        return new


def seeded(seed: int, *spawn_key: int) -> np.random.Generator:
    """A generator for this seed and place. Raises: ConfigError for a negative seed."""
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ConfigError(f"seed: expected an int of at least 0, got {seed!r}")
    return np.random.default_rng(np.random.SeedSequence(int(seed), spawn_key=spawn_key))


def to_float(images: np.ndarray) -> str:
    """The advice for images of a wrong dtype: the call that converts them."""
    if images.dtype.kind == "f":
        return "images.astype(np.float32) converts them"
    return "md.data.scale(images) turns 0..255 into float32 in [0, 1]"


def array_of(what: str, values: Any) -> np.ndarray:
    """Values of any library as a NumPy array. Raises: DTypeError for what holds no numbers."""
    if isinstance(values, np.ndarray) and values.dtype.kind in "UO":
        raise DTypeError(
            f"Dataset: expected numbers as {what}, got dtype {values.dtype}; number the names: "
            "classes, labels = np.unique(names, return_inverse=True)"
        )
    return to_host(as_array(f"Dataset ({what})", values))


def _checked_inputs(images: Any) -> np.ndarray | Pictures:
    images = images if isinstance(images, Pictures) else array_of("images", images)
    if images.ndim == 0 or 0 in images.shape:
        raise DataError(f"Dataset: expected at least one image, got shape {images.shape}")
    if isinstance(images, Pictures):
        return images
    pixels = images.ndim == 4 or images.dtype == np.uint8
    if images.dtype not in (np.float32, np.float64) and (pixels or images.dtype.kind not in "iu"):
        raise DTypeError(
            f"Dataset: expected images of float32 or float64, got {images.dtype}; "
            f"{to_float(images)}"
        )
    if _channels_last(images.shape):
        raise ShapeError(
            f"Dataset: expected images of shape (N, C, H, W), got {images.shape}, which looks like "
            "(N, H, W, C); images.transpose(0, 3, 1, 2) brings the channels to their place"
        )
    _check_finite("image", images)
    return images


def _channels_last(shape: tuple[int, ...]) -> bool:
    """Whether this can only be the shape of images (N, H, W, C) with 1, 3 or 4 channels."""
    if len(shape) != 4 or shape[3] not in (1, 3, 4) or min(shape[1:3]) <= 4:
        return False
    return shape[3] > 1 or shape[1] == shape[2]


def _checked_targets(labels: Any, count: int) -> np.ndarray:
    targets = array_of("labels", labels)
    if targets.ndim == 0 or len(targets) != count:
        raise ShapeError(
            f"Dataset: expected one label for each of {count} images, shape ({count},), "
            f"got shape {targets.shape}; other targets have shape ({count}, ...)"
        )
    if targets.ndim == 1 and targets.dtype.kind in "iub":
        if targets.dtype == np.uint64 and targets.size and targets.max() > _LARGEST:
            raise DataError(f"Dataset: expected labels of at most {_LARGEST}, got {targets.max()}")
        return targets.astype(np.int64)
    _check_finite("target", targets)
    return targets


def _check_finite(what: str, values: np.ndarray) -> None:
    if values.dtype.kind not in "fc":
        return
    with np.errstate(over="ignore", invalid="ignore"):
        total = values.sum()  # NaN and infinity survive a sum: no second array for clean values
    if np.isfinite(total):
        return
    counts = (~np.isfinite(values)).reshape(len(values), -1).sum(axis=1)
    bad = np.flatnonzero(counts)
    if bad.size:
        one = "pixel values" if what == "image" else "values"
        listed = ", ".join(f"{what} {i} ({counts[i]} {one})" for i in bad[:5])
        raise DataError(
            f"Dataset: expected finite {what}s, got NaN or infinity in {bad.size} of "
            f"{len(values)} {what}s: {listed}{', ...' if bad.size > 5 else ''}; repair or drop them"
        )
