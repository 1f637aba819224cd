"""The generator of random numbers behind initializers and dropout.

Each thread may draw from a stream of its own (`using`), so that trainings in several threads do
not take each other's numbers.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from .errors import ConfigError


class _Streams(threading.local):
    own: np.random.Generator | None = None  # this thread's, within `using`


_shared = np.random.default_rng(0)
_streams = _Streams()


def manual_seed(seed: int) -> None:
    """Restart the random numbers behind initializers and dropout.

    They are drawn on the host on every device, so one seed means one model everywhere.
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
