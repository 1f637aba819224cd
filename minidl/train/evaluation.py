"""Measuring a model without training it."""

import traceback
from collections.abc import Iterator

import numpy as np

from .. import memory
from ..data import Dataset
from ..device import to_device
from ..errors import ConfigError, DeviceError, ShapeError
from ..modes import evaluating, no_grad
from ..tensor import Tensor
from .capture import Answers
from .score import Score
from .settings import Settings, metric_name
from .step import one_number

BATCH = 256  # where nothing is learned, the batch size changes no result


def outputs(job: Settings, data: Dataset, batch_size: int) -> Iterator[np.ndarray]:
    """The model's outputs in eval mode, batch after batch; then each module has its own mode again.

    Several processes divide the batches among themselves. A batch that does not fit into memory is
    halved, which does not change the outputs.
    Raises: DeviceError where not even a batch of one fits.
    """
    rows = job.team.batches(len(data), batch_size)
    start = rows.start
    if job.answers is None:
        job.answers = Answers(job)
    answers = job.answers
    with evaluating(job.model):
        while start < rows.stop:
            batch = data.rows(slice(start, min(start + batch_size, rows.stop)))
            try:
                with no_grad(), np.errstate(over="ignore", invalid="ignore"):
                    found = answers(batch)
            except MemoryError as error:  # CuPy's is one too
                if batch_size == 1:
                    raise DeviceError(
                        f"evaluate, predict: the memory of '{job.device}' does not hold a single "
                        f"input of shape {data.shape[1:]} and what the model makes of it; use a "
                        f"smaller model or smaller inputs ({error})"
                    ) from None
                traceback.clear_frames(error.__traceback__)  # they hold every array of the pass
                memory.release_gpu_memory()
                batch_size = max(1, min(batch_size, len(batch)) // 2)
                continue
            if found.shape[:1] != (len(batch),):
                raise ShapeError(
                    f"evaluate, predict: expected outputs for each of {len(batch)} inputs of shape "
                    f"{batch.shape[1:]}, got {found.shape}; write x[None] for a single input"
                )
            start += len(batch)
            yield found


def everywhere(job: Settings, data: Dataset, batch_size: int) -> list[np.ndarray]:
    """The outputs of all batches, in every process; each batch is computed by one process."""
    with job.team.together():
        return job.team.all(list(outputs(job, data, batch_size)))


def evaluate(job: Settings, dataset: Dataset, batch_size: int = BATCH) -> dict[str, float]:
    """{"loss", "accuracy", and the metrics} over all the data; accuracy is NaN without classes."""
    found = np.concatenate(everywhere(job, dataset, batch_size))
    targets = dataset.labels
    if targets.dtype.kind == "f":
        targets = targets.astype(found.dtype, copy=False)
    with np.errstate(over="ignore", invalid="ignore"), no_grad():
        there = (Tensor(to_device(array, job.device)) for array in (found, targets))
        loss = one_number(job.loss(*there)).item()
    score = job.score if job.score.of_training else Score(job.loss, targets)
    results = {"loss": float(loss), "accuracy": float(score.accuracy(found, targets))}
    if not job.score.knows:
        job.score = score
    for metric in job.metrics:
        # Copies: a metric that writes into them must not change the data, nor other metrics.
        value = metric(found.copy(), targets.copy())
        try:
            results[metric_name(metric)] = float(value)
        except (TypeError, ValueError):
            raise ConfigError(
                f"Trainer: expected the metric '{metric_name(metric)}' to return a number, got "
                f"{type(value).__name__}"
            ) from None
    return results
