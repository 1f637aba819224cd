"""Kernels for the GPU, written in CUDA, and graphs of their launches. README.md says more."""

from . import (
    batch_norm,
    convolution,
    elementwise,
    few,
    implicit,
    launch,
    loss,
    philox,
    pool,
    product,
    rows,
    update,
)
