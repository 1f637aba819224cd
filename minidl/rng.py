"""The generator of random numbers, for initializers, dropout, `rand` and `randn`.

All threads share one generator. A thread may draw from a generator of its own instead (`using`), so
that trainings in several threads do not take each other's numbers.
"""

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from .device import Array, is_host, to_device
from .errors import ConfigError

Draw = Callable[[np.random.Generator], np.ndarray]


class _Streams(threading.local):
    own: np.random.Generator | None = None  # this thread's, within `using`
    drawn: Callable[[Draw, str], Array] | None = None  # what stands for `drawn`, within `drawing`


_shared = np.random.default_rng(0)
_streams = _Streams()


def manual_seed(seed: int) -> None:
    """Restart the random numbers of initializers, dropout, `rand` and `randn`.

    A seed gives the same numbers on every device, because the host draws them. For dropout the host
    draws keys, and a key gives the same mask on every device.
    Raises: ConfigError unless the seed is an integer >= 0.
    """
    global _shared
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise ConfigError(f"manual_seed: expected an integer >= 0, got {seed!r}")
    fresh = np.random.default_rng(int(seed))
    if _streams.own is None:
        _shared = fresh
    else:
        _streams.own = fresh


def generator() -> np.random.Generator:
    """The generator that `manual_seed` restarts: this thread's own within `using`, else shared."""
    return _shared if _streams.own is None else _streams.own


@contextmanager
def using(stream: np.random.Generator) -> Iterator[None]:
    """Context in which this thread draws from `stream`, and leaves the shared generator alone."""
    before, _streams.own = _streams.own, stream
    try:
        yield
    finally:
        _streams.own = before


def drawn(draw: Draw, device: str) -> Array:
    """draw(generator()), on the device: numbers that are drawn anew each time.

    They are drawn on the host, so that a seed gives the same numbers on every device. A CUDA graph
    cannot record that: `drawing` then says where its array comes from.
    """
    if _streams.drawn is not None:
        return _streams.drawn(draw, device)
    return to_device(draw(generator()), device)


@contextmanager
def drawing(instead: Callable[[Draw, str], Array]) -> Iterator[None]:
    """Context in which this thread calls `instead` in place of `drawn`."""
    before, _streams.drawn = _streams.drawn, instead
    try:
        yield
    finally:
        _streams.drawn = before


def key(random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Three whole numbers, from which Philox can draw numbers of this shape (`kernels/philox.py`).

    The first two are Philox's key, new for each call. The third is the position of the first number
    of the shape: 0, or where the images begin if they are some of a batch (`Rows`).
    """
    drawn = [random.integers(1 << 63) for _ in range(2)]
    first = random.numbers_before(shape) if isinstance(random, Rows) else 0
    return np.array([*drawn, first], np.uint64)


def from_key(make: Callable[[np.ndarray], np.ndarray], like: Array) -> Array:
    """make(key), for a new key of like's shape, on like's device."""
    shape = like.shape
    return drawn(lambda random: make(key(random, shape)), "cpu" if is_host(like) else "cuda")


class Rows(np.random.Generator):
    """A generator that draws for all images of a batch, and returns the numbers of some of them.

    The purpose: an image gets the same numbers, whichever process or shard has it.
    source: the bit generator. rows: the images to draw for, as rows of the batch. count: how many
    images the batch has.
    The first axis of `size` must run over these images, or over several things of each image. Only
    `random` and `integers` work this way. Other draws give every shard the same numbers.
    """

    def __init__(self, source: np.random.BitGenerator, rows: slice, count: int) -> None:
        super().__init__(source)
        self.rows, self.count = rows, count

    def random(self, size: Any = None, *args: Any, **options: Any) -> Any:
        """As NumPy's."""
        draw = super().random
        return self._part(size, lambda whole: draw(whole, *args, **options))

    def integers(  # type: ignore[override]
        self, low: Any, high: Any = None, size: Any = None, **options: Any
    ) -> Any:
        """As NumPy's."""
        draw = super().integers
        return self._part(size, lambda whole: draw(low, high, whole, **options))

    def numbers_before(self, shape: tuple[int, ...]) -> int:
        """How many numbers of the whole batch come before those of these images; see `_part`."""
        own = self.rows.stop - self.rows.start
        return 0 if not shape or shape[0] % own else self.rows.start * (math.prod(shape) // own)

    def _part(self, size: Any, draw: Callable[[Any], Any]) -> Any:
        shape = tuple(np.atleast_1d(() if size is None else size).tolist())
        own = self.rows.stop - self.rows.start
        if not shape or shape[0] % own:
            return draw(size)
        each = shape[0] // own
        whole = draw((self.count * each, *shape[1:]))
        return whole[self.rows.start * each : self.rows.stop * each]
