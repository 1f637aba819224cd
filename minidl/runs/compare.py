"""Runs side by side: the options in which they differ, and the results of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import plot
from ..errors import ConfigError
from ..train import History
from .run import PathLike, read_config

OUTCOME = (
    "epochs done",
    "training loss",
    "validation loss",
    "validation accuracy",
    "best",
    "seconds",
)


@dataclass
class Comparison:
    """Several runs beside each other.

    names: their folders. options: those that differ, each with its value in every run; also a hash
    of each part's images, where data of one name is not the same. outcome: for each name in OUTCOME
    the value in every run. "best" is the best validation accuracy and its epoch, "seconds" the time
    of all epochs. histories: one for each run.
    """

    names: list[str]
    options: dict[str, list[Any]]
    outcome: dict[str, list[str]]
    histories: list[History]

    def rows(self) -> list[tuple[str, ...]]:
        """A table: the names, the options that differ, then the outcome."""
        options = [(name.replace("_", "-"), *map(_shown, v)) for name, v in self.options.items()]
        return [("run", *self.names), *options, *((n, *v) for n, v in self.outcome.items())]

    def plot(self, path: PathLike | None = None) -> Any:
        """The figure of all runs' loss and accuracy by epoch. path: a file to write it to."""
        return plot.compared(self.names, self.histories, path)


def compare(runs: Sequence[PathLike]) -> Comparison:
    """Open run folders and compare them.

    Raises: ConfigError for fewer than two; CheckpointError, DataError where one cannot be read.
    """
    if len(runs) < 2:
        raise ConfigError(f"compare: expected two runs or more, got {len(runs)}")
    read = [read_config(run) for run in runs]
    configs = [config.resolved().to_dict() for config, _ in read]
    histories = [History.from_csv(Path(run) / "history.csv") for run in runs]
    options = {name: [config[name] for config in configs] for name in configs[0]}
    differ = {name: values for name, values in options.items() if len(set(map(repr, values))) > 1}
    if "data" not in differ:
        differ |= _other_images([facts["digests"] for _, facts in read])
    found = [_outcome(history) for history in histories]
    outcome = {name: [row[name] for row in found] for name in OUTCOME}
    return Comparison([str(Path(run)) for run in runs], differ, outcome, histories)


def _other_images(digests: list[dict[str, str]]) -> dict[str, list[Any]]:
    """The hashes of each part whose images or labels are not the same in all runs.

    Data of one name may have changed between two runs; their results then say less. An early run
    has no hashes.
    """
    if not all(digests):
        return {}
    parts = dict.fromkeys(part for known in digests for part in known)
    rows = {f"{part} images": [known.get(part) for known in digests] for part in parts}
    return {name: values for name, values in rows.items() if len({*map(str, values)}) > 1}


def _outcome(history: History) -> dict[str, str]:
    epochs = history.epochs
    if not len(epochs["epoch"]):
        return dict.fromkeys(OUTCOME, "-") | {"epochs done": "0"}
    accuracy = epochs.get("validation_accuracy", np.full(len(epochs["epoch"]), np.nan))
    best = "-"
    if np.isfinite(accuracy).any():
        at = int(np.nanargmax(accuracy))
        best = f"{accuracy[at]:.4f} (epoch {int(epochs['epoch'][at])})"
    last = history.last
    numbers = {
        "training loss": last["train_loss"],
        "validation loss": last.get("validation_loss"),
        "validation accuracy": last.get("validation_accuracy"),
    }
    shown = {n: "-" if x is None or np.isnan(x) else f"{x:z.4f}" for n, x in numbers.items()}
    seconds = f"{epochs['seconds'].sum():.1f}"
    return {"epochs done": str(len(epochs["epoch"])), **shown, "best": best, "seconds": seconds}


def _shown(value: Any) -> str:
    return "-" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
