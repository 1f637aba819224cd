"""Training, step by step, as a film: the loss and each layer's gradient norm at every step."""

from collections.abc import Iterator, Sequence
from math import isfinite
from typing import Any

import numpy as np

from ..device import Array
from ..errors import GradientError
from ..nn import Conv2d, Dense
from ..tensor import Tensor
from ..train.metrics import combine
from ..train.settings import Settings as Job
from ..train.step import step
from .subject import Network

WEIGHTED = (Conv2d, Dense)
STEPS = 60  # as in the study of the doctor's verdicts, tools/doctor_study.py


def outcome(losses: Sequence[float], accuracy: float) -> str:
    """ "diverged", "learned" or "neither", for a training that met neither NaN nor infinity.

    accuracy: on test images, at the end. It diverged if its loss rose above 3 times the larger of
    its start and 2.3, and the accuracy is below 0.2. It learned if the accuracy is 0.5 or more.
    """
    if max(losses) > 3 * max(losses[0], 2.3) and accuracy < 0.2:
        return "diverged"
    return "learned" if accuracy >= 0.5 else "neither"


def film(network: Network, steps: int = STEPS) -> Iterator[dict[str, Any]]:
    """The frames of a training, the last with its outcome.

    The first frame names the layers with weights. Then comes a frame for each step: its number, the
    loss and the accuracy of the batch before the step, and each layer's gradient norm before
    clipping. The last frame holds the outcome. A step whose numbers are not finite ends the film.
    """
    with network.same_numbers():
        yield from _frames(network, steps)


def _frames(network: Network, steps: int) -> Iterator[dict[str, Any]]:
    model = network.model
    job = Job(model, loss=network.loss, optimizer=network.optimizer, clip=network.clip)
    names = [name for name, _ in model.named_parameters()]
    layers = [
        (name, type(m).__name__) for name, m in model.named_modules() if isinstance(m, WEIGHTED)
    ]
    yield {"layers": [{"name": name, "kind": kind} for name, kind in layers]}
    losses: list[float] = []
    batch = network.first
    for number in range(steps):
        frame: dict[str, Any] = {"step": number}

        def look(measured: Array, frame: dict[str, Any] = frame) -> float:
            loss, accuracy, *norms = (float(value) for value in measured)
            total, by_layer = combine(names, norms)
            frame.update(loss=loss, accuracy=accuracy, norms=[by_layer[n] for n, _ in layers])
            if not (isfinite(loss) and isfinite(total)):
                raise GradientError("not finite")
            return total

        try:
            with np.errstate(all="ignore"):
                step(job, job.place(batch[0]), Tensor(batch[1]).data, look)
        except GradientError:
            yield frame
            yield {"end": "diverged", "step": number}
            return
        losses.append(frame["loss"])
        yield frame
        batch = next(network.batches)
    yield _ending(network, losses, dead=not any(frame["norms"][:-1]))


def _ending(network: Network, losses: list[float], dead: bool) -> dict[str, Any]:
    """The last frame: the outcome, and the accuracy on the test images, else on the first batch.

    dead: whether in the last step no layer but the last got a gradient.
    """
    images, labels = network.test or network.first
    model = network.model
    model.eval()
    with np.errstate(all="ignore"):
        logits = model(Tensor(images.astype(model.parameters()[0].dtype))).numpy()
    model.train()
    if not np.isfinite(logits).all():
        return {"end": "diverged", "step": len(losses) - 1}
    accuracy = float((logits.argmax(1) == labels).mean())
    ended = outcome(losses, accuracy)
    return {"end": ended, "step": len(losses) - 1, "accuracy": accuracy, "dead": dead}
