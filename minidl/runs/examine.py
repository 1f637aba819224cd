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
    """The model, the optimizer and the first batch of a run with these options.

    largest_rate: the optimizer gets the schedule's largest rate, not its first.
    """
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
    """The doctor's report on a run with these options, before its first step.

    train: the training part. The doctor sees its first batch, and the optimizer at the schedule's
    first rate. trial_steps: as for the doctor. largest_rate: take the schedule's largest rate.
    Under a warm-up or a cycle the first rate is small and says nothing about the training.
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
