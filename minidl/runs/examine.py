"""The gradient doctor's opinion of a run, from the options alone."""

from typing import Any, NamedTuple

from ..data import DataLoader, Dataset
from ..health import doctor
from ..health.report import Report
from ..nn import Module
from .config import Config


class Opened(NamedTuple):
    """The model and optimizer of a run, fresh, and the first batch that it will see."""

    model: Module
    optimizer: Any
    batch: tuple[Any, Any]


def opened(config: Config, train: Dataset, *, largest_rate: bool = False) -> Opened:
    """What a run would start with. The optimizer has the schedule's first rate, or its largest."""
    model = config.build_model(train.shape[1:], len(train.classes)).to(config.device)
    optimizer = config.build_optimizer(model)
    steps = config.epochs * -(-len(train) // config.batch_size)
    schedule = config.build_schedule(steps)
    if schedule is not None:
        optimizer.lr = max(map(schedule, range(steps if largest_rate else 1)))
    batch = next(iter(DataLoader(train, config.batch_size, shuffle=True, seed=config.seed)))
    return Opened(model, optimizer, batch)


def examine(
    config: Config, train: Dataset, *, trial_steps: int = 0, largest_rate: bool = False
) -> Report:
    """What the doctor says of a run with these options before its first step.

    It sees the first batch of the training part, and the optimizer at the schedule's first rate.
    largest_rate: at the schedule's largest one. Under a warm-up or a cycle the first rate is small
    and says nothing about the training.
    Raises: ConfigError, DataError as the doctor does.
    """
    model, optimizer, batch = opened(config, train, largest_rate=largest_rate)
    return doctor(
        model,
        batch,
        optimizer,
        loss=config.build_loss(),
        clip=config.build_clip(),
        trial_steps=trial_steps,
    )
