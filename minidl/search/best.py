"""The best settings of a search: as a file, and trained again with other seeds."""

import dataclasses
import json
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import GradientError
from ..files import write_text
from ..runs import Config, train
from ..runs.data import load_data
from ..train import History
from .settings import Settings
from .summary import Row


@dataclass
class Retrained:
    """The best settings, trained again with seeds that the search has not used.

    validation, test: the accuracies by seed; NaN where that training diverged. shared: whether the
    test part is the validation part, by which the settings were chosen.
    """

    seeds: list[int]
    validation: list[float]
    test: list[float]
    shared: bool

    def spread(self, part: str = "test") -> str:
        """ "0.9875 to 0.9903, mean 0.9889"; the accuracies of a part, "test" or "validation"."""
        values = getattr(self, part)
        good = [v for v in values if v == v]
        lost = "" if len(good) == len(values) else f"; {len(values) - len(good)} diverged"
        if not good:
            return f"none{lost}"
        return f"{min(good):.4f} to {max(good):.4f}, mean {statistics.fmean(good):.4f}{lost}"


def config_of(settings: Settings, row: Row) -> Config:
    """The options of a run with a trial's settings."""
    space, base = settings.space, settings.base
    return space.config(base, space.draw(_Fixed(row.options), base))


class _Fixed:
    """Takes the place of a trial of Optuna, but returns options that were drawn before."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        """The value that was drawn."""
        return self._options[name]

    def suggest_int(self, name: str, low: int, high: int, *, log: bool) -> Any:
        """The number that was drawn."""
        return self._options[name]

    suggest_float = suggest_int


def write_config(path: Path, config: Config, comment: str) -> None:
    """A TOML file of options that `minidl train --config` reads."""
    lines = [f"# {comment}"]
    for name, value in dataclasses.asdict(config.resolved()).items():
        if value is not None:
            lines.append(f"{name.replace('_', '-')} = {_in_toml(value)}")
    write_text(path, "\n".join(lines) + "\n")


def _in_toml(value: Any) -> str:
    """JSON's texts, numbers and truth values are TOML's too, but for signs that have to be escaped.

    JSON escapes a sign such as an emoji as two halves, which TOML refuses, and not DEL.
    """
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def retrain(config: Config, seeds: list[int], folder: Path, say: Callable[[str], Any]) -> Retrained:
    """Train the settings with each seed, in folder/seed-N. Runs that are there already go on, or
    are only measured.

    say: called with a line before each training.
    """
    splits = load_data(config, None, False, lambda line: None)
    found = Retrained(seeds, [], [], splits.validation is splits.test)
    for seed in seeds:
        one = dataclasses.replace(config, seed=seed)
        say(f"training the best settings again, seed {seed}")
        try:
            outcome = train(
                one, folder / f"seed-{seed}", resume=True, progress=False,
                splits=splits, doctor=False, figures=True,
            )  # fmt: skip
        except GradientError:
            found.validation.append(float("nan"))
            found.test.append(float("nan"))
            continue
        found.validation.append(validation_of(outcome.history, found.shared))
        found.test.append(outcome.test["accuracy"])
    return found


def validation_of(history: History, shared: bool) -> float:
    """The validation accuracy of the weights that a run ends with.

    Those are the weights of the best epoch. Where validation and test are the same images (shared),
    choosing by them would flatter the test, and the weights are those of the last epoch.
    """
    best = None if shared else history.best_epoch
    return float(history.epochs["validation_accuracy"][-1 if best is None else best - 1])
