"""The machine itself: how fast it multiplies matrices and moves memory."""

import time
from importlib.metadata import version

import numpy as np
from threadpoolctl import threadpool_info

# A build of OpenBLAS has kernels for several processors. OPENBLAS_CORETYPE in the environment can
# make it take slower ones than the processor allows. Then minidl is slower, and its peers are not.
BLAS = [
    f"{info['internal_api']} {info['version']} ({info.get('architecture', 'unknown')} kernels)"
    for info in threadpool_info()
    if info["user_api"] == "blas"
]
VERSION = f"NumPy {version('numpy')} on {' and '.join(BLAS) or 'an unknown BLAS'}"
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
