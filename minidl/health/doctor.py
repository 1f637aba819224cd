"""The gradient doctor: looks at a model before training, and leaves it as it was."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from .. import rng
from ..checks import check
from ..errors import ConfigError, DataError
from ..nn import Module
from ..ops import cross_entropy
from ..tensor import ArrayLike, as_tensor
from ..train.settings import Clip, check_optimizer, clipper
from .measure import Measurements, measure
from .probe import examining
from .report import Report, report_on


def doctor(
    model: Module,
    batch: tuple[ArrayLike, ArrayLike],
    optimizer: Any = None,
    *,
    loss: Any = cross_entropy,
    clip: Clip | None = None,
    trial_steps: int = 0,
) -> Report:
    """Say before training whether it will explode, vanish or stall, where, why, and what to do.

    The doctor makes a forward and a backward pass on the batch and one real update. Then it puts
    weights, gradients, buffers, optimizer and random numbers back as they were. docs/doctor.md says
    how it judges, and how often it is right. Its bounds are those of fresh networks: a rate that is
    raised in the middle of a training may ruin the network without a warning.
    batch: (images, labels) as training will see them. optimizer: the one that training will use,
    made from model.parameters(). Without it nothing is said about the learning rate.
    loss, clip: as in the Trainer. The loss of a guess is known for cross_entropy alone: ln K for K
    classes. With another loss nothing is said about the size of the first loss.
    trial_steps: the doctor makes this many further steps on the same batch, judges the network by
    their losses and changes, and undoes them. The gradient of another loss than cross_entropy may
    grow without bound. So two further steps are then always made, and show whether steps overshoot.
    Raises: ConfigError where the model is not a Module or has nothing to train, where the optimizer
    holds parameters of another model, where the loss does not return a Tensor, or for trial_steps
    below 0. DataError for a batch that is not a pair, is empty or is not finite.
    """
    found = take_measurements(
        model, batch, optimizer, loss=loss, clip=clip, trial_steps=trial_steps
    )
    with np.errstate(all="ignore"):
        return report_on(found)


def take_measurements(
    model: Module,
    batch: tuple[ArrayLike, ArrayLike],
    optimizer: Any = None,
    *,
    loss: Any = cross_entropy,
    clip: Clip | None = None,
    trial_steps: int = 0,
) -> Measurements:
    """The doctor's measurements, from which `report_on` makes the report.

    Arguments and Raises: as for `doctor`.
    """
    check("doctor", "an int >= 0", trial_steps=trial_steps)
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        got = type(batch).__name__ + (
            f" of {len(batch)}" if isinstance(batch, tuple | list) else ""
        )
        raise DataError(f"doctor: expected a batch (images, labels), got {got}")
    images, labels = batch
    if not isinstance(model, Module):
        raise ConfigError(f"doctor: expected an nn.Module, got {type(model).__name__}")
    shorten = clipper("doctor", clip)
    if optimizer is not None:
        check_optimizer("doctor", optimizer, model.parameters())
        # The copy has its own state and the model's parameters.
        optimizer = copy.deepcopy(optimizer, {id(p): p for p in optimizer.params})
    with np.errstate(all="ignore"), put_back(model, loss, optimizer):
        return measure(model, as_tensor(images), labels, optimizer, loss, shorten, int(trial_steps))


@contextmanager
def put_back(model: Module, loss: Any, optimizer: Any) -> Iterator[None]:
    """Context in which the model may be trained: everything that training changes is put back.

    The model itself is trained, not a copy of it, because a loss may read the model's weights.
    """
    modules = [module for module in (model, loss) if isinstance(module, Module)]
    tensors = {id(t): t for module in modules for t in module._state().values()}
    tensors |= {id(p): p for p in (optimizer.params if optimizer is not None else ())}
    values = [(t, t.data, t.grad, t.version) for t in tensors.values()]
    modes = [(m, m.training) for module in modules for _, m in module.named_modules()]
    randomness = rng.generator().bit_generator.state
    token = examining.set(True)
    try:
        for t in tensors.values():
            t.data, t.grad = t.data.copy(), None
        yield
    finally:
        examining.reset(token)
        for t, data, grad, version in values:
            t.data, t.grad, t.version = data, grad, version
        for m, training in modes:
            m.training = training
        rng.generator().bit_generator.state = randomness
