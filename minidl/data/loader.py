"""A dataset in batches."""

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ..errors import ConfigError
from ..rng import Rows
from .dataset import Dataset, seeded
from .pictures import look_ahead

_AHEAD = 2**24  # pixels that may lie decoded and unused

Batch = tuple[np.ndarray, np.ndarray]


class DataLoader:
    """Batches of (images, labels) from a Dataset, the same ones for the same seed and epoch.

    dataset: a Dataset, or the pair (images, labels) of one.
    Shapes: images (B, C, H, W), or other inputs (B, ...); labels (B,), or other targets (B, ...);
    both in the dataset's dtypes. The last batch is smaller, or left out with `drop_last`.
    The order and the random numbers of `transform` depend on (seed, epoch, batch) alone. So an
    interrupted epoch can go on with exactly the same batches: set `.epoch` and call
    `iterate(start_batch)`. `.epoch` counts the epochs completed: it grows by one when an iteration
    has run to its end.
    `transform` is called as transform(images), or as transform(images, generator) if its
    attribute `random` is true (as in random_crop, random_flip and compose).
    `.rows` is for several processes that share each batch: rows(B) says which of its B images this
    one gets. Labels are always those of the whole batch. A transform whose attribute `by_image` is
    true (all of minidl's Transforms) is then called with these images alone.
    Raises: ConfigError for a batch size below 1, a negative seed, a start beyond the epoch, or
    where drop_last leaves no batch; as Dataset for a pair.
    """

    def __init__(
        self,
        dataset: Dataset | tuple[Any, Any],
        batch_size: int,
        *,
        shuffle: bool = False,
        seed: int = 0,
        drop_last: bool = False,
        transform: Callable[..., np.ndarray] | None = None,
    ) -> None:
        if isinstance(dataset, tuple) and len(dataset) == 2:
            dataset = Dataset(*dataset)
        if not isinstance(dataset, Dataset):
            raise ConfigError(
                f"DataLoader: expected a Dataset, got {type(dataset).__name__}; "
                "wrap the arrays: Dataset(images, labels)"
            )
        _check_count("batch_size", batch_size, 1)
        if drop_last and batch_size > len(dataset):
            raise ConfigError(
                f"DataLoader: batch_size {batch_size} with drop_last leaves no batch of "
                f"{len(dataset)} images; use a smaller batch_size"
            )
        seeded(seed)
        self.dataset = dataset
        self.batch_size = int(batch_size)
        self.shuffle = shuffle
        self.seed = seed
        self.drop_last = drop_last
        self.transform = transform
        self.epoch = 0
        self.rows: Callable[[int], slice] | None = None

    def __repr__(self) -> str:
        more = ", shuffled" if self.shuffle else ""
        return f"<DataLoader: {len(self):,} batches of {self.batch_size}{more}, {self.dataset!r}>"

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        full, rest = divmod(len(self.dataset), self.batch_size)
        return full + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[Batch]:
        return self.iterate()

    def iterate(self, start_batch: int = 0) -> Iterator[Batch]:
        """The batches of the current epoch from `start_batch` on."""
        _check_count("epoch", self.epoch, 0)
        _check_count("start_batch", start_batch, 0, len(self))
        return self._batches(self.epoch, start_batch)

    def whole(self, batch: int) -> Batch:
        """One batch of the current epoch, also where this process gets only some rows of it."""
        all_rows = copy.copy(self)
        all_rows.rows = None
        return next(all_rows.iterate(batch))

    def _batches(self, epoch: int, start_batch: int) -> Iterator[Batch]:
        order = np.arange(len(self.dataset))
        if self.shuffle:
            order = seeded(self.seed, epoch).permutation(order)
        numbers = range(start_batch, len(self))
        batches = [order[b * self.batch_size : (b + 1) * self.batch_size] for b in numbers]
        fetched = self._fetched([chosen[self._fetched_rows(len(chosen))] for chosen in batches])
        for batch, chosen, images in zip(numbers, batches, fetched, strict=True):
            yield self._transformed(images, len(chosen), epoch, batch), self.dataset.labels[chosen]
        self.epoch = epoch + 1

    def _fetched(self, batches: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
        """The images at the indices of each batch. Files are decoded while the batch before is in
        use.
        """
        source = self.dataset.source
        if isinstance(source, np.ndarray) or not source.slow:
            return map(self.dataset.rows, batches)
        ahead = max(1, _AHEAD // (self.batch_size * math.prod(source.shape[1:])))
        return map(source.floats, look_ahead(source.pixels, batches, min(ahead, 2)))

    def _fetched_rows(self, count: int) -> slice:
        """Which of a batch's images are fetched: all, if the transform may look at all of them."""
        alone = self.transform is None or getattr(self.transform, "by_image", False)
        return slice(count) if self.rows is None or not alone else self.rows(count)

    def _transformed(self, images: np.ndarray, count: int, epoch: int, batch: int) -> np.ndarray:
        """The images of this process, transformed.

        images: those that were fetched, of a batch of `count`: all, or this process's alone.
        """
        if self.transform is None:
            return images
        random: tuple[Any, ...] = ()
        if getattr(self.transform, "random", False):
            random = (seeded(self.seed, epoch, batch),)
        if self.rows is None:
            return self.transform(images, *random)
        rows = self.rows(count)
        if len(images) < count:  # fetched were this process's rows
            random = tuple(Rows(generator.bit_generator, rows, count) for generator in random)
            return self.transform(images, *random)
        return self.transform(images, *random)[rows]


def _check_count(name: str, value: Any, least: int, most: int | None = None) -> None:
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or value < least or (most is not None and value > most):
        bounds = f"at least {least}" if most is None else f"from {least} to {most}"
        raise ConfigError(f"DataLoader: expected {name} as an int {bounds}, got {value!r}")
