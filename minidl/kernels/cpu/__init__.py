"""Kernels for the CPU, for float32 and float64.

Two ideas run through them. Images lie in memory with the batch innermost (`layout`), so that the
same pixel of all images is one run of numbers. The work is cut into tiles that stay in the cache.
"""

from . import (
    batch_norm,
    blas,
    columns,
    conv_pool,
    elementwise,
    layout,
    pool,
    product,
    rows,
    threads,
    update,
)
