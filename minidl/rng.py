"""The generator of random numbers behind initializers and dropout."""

import numpy as np

from .errors import ConfigError

_generator = np.random.default_rng(0)


def manual_seed(seed: int) -> None:
    """Restart the random numbers behind initializers and dropout.

    They are drawn on the host on every device, so one seed means one model everywhere.
    """
    global _generator
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise ConfigError(f"manual_seed: expected an integer >= 0, got {seed!r}")
    _generator = np.random.default_rng(int(seed))


def generator() -> np.random.Generator:
    """The generator that `manual_seed` restarts."""
    return _generator
