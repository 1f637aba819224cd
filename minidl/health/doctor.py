"""The gradient doctor: one forward and one backward pass, and what they say about training."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from .. import nn, rng
from ..errors import ConfigError, DataError
from ..nn import Module
from ..ops import cross_entropy
from ..tensor import ArrayLike, as_tensor
from ..train.settings import Clip, check_optimizer, clipper
from . import rules
from .measure import measure
from .report import Report


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

    Its bounds are those of fresh networks: once one is trained, a rate that is raised may ruin
    it without a warning. docs/doctor.md says how it judges, and how often it is right.
    batch: (images, labels) as training will see them. optimizer: the one that training will use,
    already holding model.parameters(); its real update is measured. Without it nothing is said
    about the learning rate. loss, clip: as in the Trainer; what the loss of a guess is, is known of
    cross_entropy alone.
    trial_steps: make so many steps, always on this batch, and look at their losses. Two are always
    made where the loss is not cross_entropy, whose gradients are bounded as others may not be.
    Weights, gradients, buffers, optimizer and random numbers are put back as they were.
    Raises: ConfigError where the optimizer holds other parameters; DataError for a batch that is
    empty or not finite.
    """
    if isinstance(trial_steps, bool) or not isinstance(trial_steps, int) or trial_steps < 0:
        raise ConfigError(f"doctor: expected trial_steps to be an int >= 0, got {trial_steps!r}")
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        raise DataError(f"doctor: expected a batch (images, labels), got {type(batch).__name__}")
    images, labels = batch
    if not isinstance(model, Module):
        raise ConfigError(f"doctor: expected an nn.Module, got {type(model).__name__}")
    shorten = clipper("doctor", clip)
    if optimizer is not None:
        check_optimizer("doctor", optimizer, model.parameters())
        # Its state is copied; the parameters in it are not.
        optimizer = copy.deepcopy(optimizer, {id(p): p for p in optimizer.params})
    with _put_back(model, loss, optimizer), np.errstate(all="ignore"):
        found = measure(model, as_tensor(images), labels, optimizer, loss, shorten, trial_steps)
    return rules.judge(found)


@contextmanager
def _put_back(model: Module, loss: Any, optimizer: Any) -> Iterator[None]:
    """Context in which the model may be trained: what training changes is put back.

    The model itself is worked on, not a copy: a loss may look at its weights, too.
    """
    tops = [top for top in (model, loss) if isinstance(top, Module)]
    modules = [m for top in tops for _, m in top.named_modules()]
    parameters = {id(p): p for m in modules for _, p in m._members(nn.Parameter)}
    parameters |= {id(p): p for p in (optimizer.params if optimizer is not None else ())}
    weights = [(p, p.data, p.grad) for p in parameters.values()]
    flags = [(m, m.training, m.hooks) for m in modules]
    buffers = [(m, name, getattr(m, name)) for m in modules for name in m.buffers]
    randomness = rng.generator().bit_generator.state
    try:
        for p in parameters.values():
            p.data, p.grad = p.data.copy(), None
        for m, name, value in buffers:
            setattr(m, name, copy.deepcopy(value))
        for m in modules:  # monitors would take this for training
            m.hooks = [hook for hook in m.hooks if not hasattr(hook, "pooled")]
        yield
    finally:
        for p, data, grad in weights:
            p.data, p.grad = data, grad
        for m, training, hooks in flags:
            m.training, m.hooks = training, hooks
        for m, name, value in buffers:
            setattr(m, name, value)
        rng.generator().bit_generator.state = randomness
