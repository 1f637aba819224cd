"""The machine itself: how fast it multiplies matrices and moves memory."""

import time
from importlib.metadata import version

import numpy as np

VERSION = f"NumPy {version('numpy')}"
SIZE, BYTES = 1024, 128 * 2**20


def limits() -> dict[str, float]:
    """Operations per second of a float32 product, bytes per second of a copy (read and written)."""
    a, out = np.ones((SIZE, SIZE), np.float32), np.empty((SIZE, SIZE), np.float32)
    source, target = np.ones(BYTES // 4, np.float32), np.empty(BYTES // 4, np.float32)
    return {
        "operations": 2.0 * SIZE**3 / _least(lambda: np.matmul(a, a, out=out)),
        "bytes": 2.0 * BYTES / _least(lambda: np.copyto(target, source)),
    }


def _least(act) -> float:
    def seconds() -> float:
        start = time.perf_counter()
        act()
        return time.perf_counter() - start

    return min(seconds() for _ in range(6))
