"""Advice on a run before it is trained: a safe rate, and the effect of each remedy."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

from ..data import Dataset
from ..errors import ConfigError, MinidlError
from ..health import RateTest, Report, rate_test, safe_rate
from .config import Config
from .examine import examine, opened


class Tried(NamedTuple):
    """A remedy, the options that it stands for, and the doctor's report with it, or an error."""

    name: str
    options: dict[str, Any]
    report: Report | MinidlError


def find_rate(config: Config, data: Dataset, **options: Any) -> RateTest:
    """The test with a rising rate, for a run with these options. options: those of `rate_test`."""
    model, optimizer, _ = opened(config, data)
    return rate_test(
        model, data, optimizer, batch_size=config.batch_size, loss=config.build_loss(),
        clip=config.build_clip(), seed=config.seed, **options,
    )  # fmt: skip


def with_safe_rate(config: Config, data: Dataset) -> Config:
    """The options with a rate that the doctor finds safe: the optimizer's own, or a lower one.

    A rate is judged without a warm-up, as the largest of the schedule.
    Raises: DataError where no safe rate is found; as the doctor.
    """
    model, optimizer, batch = opened(config, data, largest_rate=True)
    rate = safe_rate(model, batch, optimizer, loss=config.build_loss(), clip=config.build_clip())
    return dataclasses.replace(config, lr=config.given(rate))


# Each remedy for exploding gradients, and the options that bring it.
REMEDIES: dict[str, dict[str, Any]] = {
    "as given": {},
    "He initialisation": {"init": "he_normal"},
    "standardised images": {"standardize": True},
    "clipping by norm": {"clip_norm": 1.0},
    "clipping by value": {"clip_value": 0.01},
    "adaptive clipping": {"clip_adaptive": 0.01},
    "batch normalisation": {"batch_norm": True},
    "shortcuts": {"residual": True},
    "weight normalisation": {"weight_norm": 1.0},
    "warm-up": {"warmup": 100},
    "a tenth of the rate": {},  # a factor, not a setting: see `_with`
    "a safe rate": {"lr": "auto"},
}


def try_remedies(
    config: Config,
    load: Callable[[Config], Dataset],
    trial_steps: int = 5,
) -> list[Tried]:
    """The doctor's report without a remedy, and with each remedy of REMEDIES alone.

    load: a function from options to the training part, which standardising changes. Remedies that
    the model cannot have, or that the options have already, are left out.
    Raises: DataError, ConfigError where the data itself cannot be used.
    """
    tried = []
    load(config)  # data that cannot be read is no remedy's fault
    for name in REMEDIES:
        changed = _with(config, name)
        if changed == config and name != "as given":
            continue
        try:
            changed.check()
        except ConfigError:  # not with this model
            continue
        try:
            data = load(changed)
            if changed.lr == "auto":
                changed = with_safe_rate(changed, data)
            found: Report | MinidlError = examine(changed, data, trial_steps=trial_steps)
        except MinidlError as error:
            found = error
        before, after = config.to_dict(), changed.to_dict()
        options = {n: after[n] for n in after if after[n] != before[n]}
        tried.append(Tried(name, options, found))
    return tried


def _with(config: Config, remedy: str) -> Config:
    if remedy == "a tenth of the rate":
        return dataclasses.replace(config, lr=config.given(config.rate / 10))
    options = REMEDIES[remedy]
    if options.get("batch_norm") or options.get("residual"):
        # The default optimizer and rate depend on the body: keep those that are being judged.
        options = options | {"optimizer": config.method, "lr": config.given(config.rate)}
    changed = dataclasses.replace(config, **options)
    same = changed.resolved() == config.resolved() and config.lr != "auto"
    return config if same and options != {"lr": "auto"} else changed
