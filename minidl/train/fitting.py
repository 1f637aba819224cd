"""The error for a step that does not fit into memory: it names a batch size that fits."""

import traceback

import numpy as np

from .. import memory
from ..errors import DeviceError
from ..tensor import Tensor
from .settings import Settings


def too_large(
    job: Settings, images: np.ndarray, labels: np.ndarray, error: MemoryError
) -> DeviceError:
    """The error to raise for a training step that ran out of memory: it names a batch that fits.

    error: NumPy's MemoryError, or CuPy's, which is a MemoryError too.
    """
    traceback.clear_frames(error.__traceback__)  # they hold every array of the step
    size = _fitting(job, images, labels)
    advice = "not even one image fits: use a smaller model or smaller images"
    if size:
        advice = f"a batch of {size} fits: use batch_size={size} or less"
    return DeviceError(
        f"fit: the memory of '{job.device}' does not hold a step with a batch of "
        f"{len(images)}; {advice} ({error})"
    )


def _fitting(job: Settings, images: np.ndarray, labels: np.ndarray) -> int:
    """The largest half, quarter, ... of the batch that fits into memory, by trying; 0 for none."""
    size = len(images) // 2
    while size:
        job.forget_gradients()
        memory.release_gpu_memory()
        try:
            targets = job.place_targets(labels[:size])
            job.loss(job.forward(images[:size]), Tensor(targets)).backward()
            break
        except MemoryError as error:
            traceback.clear_frames(error.__traceback__)
            size //= 2
    job.forget_gradients()
    memory.release_gpu_memory()
    return size
