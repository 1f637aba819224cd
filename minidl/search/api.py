"""A search from beginning to end: its workers, its best settings, its report."""

import dataclasses
import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna

from ..checks import check
from ..errors import CheckpointError, ConfigError
from ..files import PathLike
from ..runs import NAMED, Config
from ..runs.data import load_data
from .best import Retrained, config_of, retrain, write_config
from .launch import run_workers
from .settings import Settings, make_space
from .storage import TURN
from .study import JOURNAL, find_study, open_study
from .summary import Summary, summary_of
from .table import Table
from .trial import folder_of
from .worker import Worker

SEARCH_OPTIONS = ("trials", "sampler", "pruner", "doctor", "audit", "best_seeds")
_HELD_OUT = 0.2  # of the training images, where the data has no validation part of its own


@dataclass
class Search:
    """A search and its folder.

    study: Optuna's own, for its plots. settings: of the search. retrained: the results of the best
    settings with other seeds; None before they are there. stopped: whether the time was over when
    it ended.
    """

    out: Path
    study: optuna.Study
    settings: Settings
    retrained: Retrained | None = None
    stopped: bool = False

    @property
    def summary(self) -> Summary:
        """The outcome of each trial so far."""
        return summary_of(self.study, self.settings.trials)

    @property
    def best(self) -> Config | None:
        """The options of the best trial, for `minidl.runs.train`; None where none has ended."""
        row = self.summary.best
        return None if row is None else config_of(self.settings, row)

    @property
    def best_run(self) -> Path | None:
        """The run folder of the best trial."""
        row = self.summary.best
        return None if row is None else folder_of(self.out, row.number)

    def report(self) -> Path:
        """Write report.html and its figures; returns the page. Raises: as `write_report` does."""
        from .report import write_report

        return write_report(self)


def open_search(
    out: PathLike,
    given: Mapping[str, Any],
    *,
    storage: str | None = None,
    name: str | None = None,
) -> Search:
    """Make a search, or join the one that the folder holds.

    given: options of `search`, by their names; those of `minidl train` among them are fixed. Where
    the folder holds a search already, options that are not given stay as they were. Those that are
    given must agree with it, except the number of trials and of best_seeds.
    Raises: ConfigError, CheckpointError, DataError as `search` does.
    """
    place, options = Path(out), dict(given)
    space = options.pop("space", None)
    asked = {n: options.pop(n) for n in SEARCH_OPTIONS if n in options}
    if not isinstance(options.get("data", ""), str | os.PathLike):
        raise ConfigError(
            "search: expected data as a name or a folder, which every worker can read, got "
            f"{type(options['data']).__name__}"
        )
    if options.get("data") and options["data"] not in NAMED:
        options["data"] = os.path.abspath(options["data"])
    held = _held(place)  # before the search is looked for, which another worker may just begin
    before = None
    if storage is not None or (place / JOURNAL).exists():
        before = find_study(place, storage, name)
    elif "data" not in options and not asked:
        raise CheckpointError(
            f"search: there is no search in {str(place)!r} to go on with; give --data to begin one"
        )
    if before is None:
        if held:
            raise ConfigError(
                f"search: {str(place)!r} holds no search, but {', '.join(held[:3])}; choose "
                "another folder"
            )
        config = Config.from_dict(options)
        config.check()
        settings = Settings(config, make_space(config, tuple(options), space), **asked)
        settings.check()  # before the data is read
        settings = dataclasses.replace(settings, base=_with_validation(config))
    else:
        base = Config.from_dict(before.base.to_dict() | options)
        settings = dataclasses.replace(before, base=base, **asked)
        if space is not None:
            settings = dataclasses.replace(settings, space=make_space(base, tuple(options), space))
    study, settings = open_study(place, settings, storage, name)
    return Search(place, study, settings)


def _held(place: Path) -> list[str]:
    """What a folder holds beside the files with which a search begins."""
    own = {TURN, JOURNAL, f"{JOURNAL}.lock"}
    return sorted(set(os.listdir(place)) - own) if place.is_dir() else []


def join(out: PathLike, storage: str | None = None, name: str | None = None) -> Search:
    """The search that a folder (or a database) holds. Raises: CheckpointError where none is."""
    study, settings = open_study(Path(out), None, storage, name)
    return Search(Path(out), study, settings)


def _with_validation(config: Config) -> Config:
    """The options with a validation part, which is not the test part where the data allows that."""
    if config.validation is not None:
        return config
    splits = load_data(config, None, False, lambda line: None)
    if splits.validation is not splits.test:  # the data has one of its own
        return config
    return dataclasses.replace(config, validation=_HELD_OUT)


def go_on(
    search: Search,
    *,
    workers: int = 1,
    seconds: float | None = None,
    storage: str | None = None,
    name: str | None = None,
    progress: bool = True,
    say: Callable[[str], Any] = lambda text: None,
) -> Search:
    """Work on a search until its trials are done or the time is over; then train the best again.

    Writes best.toml. Arguments: as for `search`. say: called with a line before each training of
    the best. Returns the search, with its results.
    Raises: KeyboardInterrupt after Ctrl-C, when each unfinished trial has its checkpoint.
    """
    check("search", "an int >= 1", workers=workers)
    if seconds is not None:
        check("search", "> 0", time=seconds)
    end = time.monotonic() + (math.inf if seconds is None else seconds)
    with Table(lambda: search.summary, progress) as table:
        if workers == 1:
            Worker(search.settings, search.study, search.out, table.update, end).run()
        else:
            run_workers(workers, search.out, storage, name, seconds, table.update)
    search.stopped = time.monotonic() >= end
    row, best = search.summary.best, search.best
    if row is None or best is None:
        return search
    comment = f"The best of a search: trial {row.number}, validation accuracy {row.accuracy:.4f}."
    write_config(search.out / "best.toml", best, comment)
    first, count = best.seed + 1, search.settings.best_seeds
    if count:
        seeds = list(range(first, first + count))
        folder = search.out / "best" / f"trial-{row.number:04d}"
        search.retrained = retrain(best, seeds, folder, say)
    return search


def search(
    space: Any = None,
    data: str = "digits",
    *,
    out: PathLike,
    trials: int = 40,
    time: float | None = None,
    workers: int = 1,
    sampler: str = "tpe",
    pruner: str = "median",
    doctor: str = "both",
    audit: float = 0.1,
    best_seeds: int = 3,
    storage: str | None = None,
    name: str | None = None,
    progress: bool = True,
    **options: Any,
) -> Search:
    """Search for the settings with which a network learns best from the data.

    space: the options that differ between trials, with their values, as a mapping, the path of a
    TOML file, or a Space; None is the default one. data: as in `minidl train`. out: the folder of
    the search; a search that it holds goes on. trials: how many, refused ones included. time:
    seconds after which the search stops; then the best settings are trained again. workers: how
    many processes. sampler: "tpe", "random" or "cma-es". pruner: "median", "hyperband" or "none".
    doctor: "off", "diverge" or "both", the verdicts for which a trial is refused before its first
    step. audit: the share of the refused trials that are trained all the same. best_seeds: with how
    many new seeds the best settings are trained again. storage, name: the URL of a database that
    several machines share, and the study's name in it. progress: whether to show the trials.
    options: any other option of `minidl train`, by its name there; those are fixed.
    Raises: ConfigError for an unknown option or a space that no run accepts; CheckpointError where
    the folder cannot be used; DataError; KeyboardInterrupt after Ctrl-C.
    """
    given = options | {
        "data": data, "trials": trials, "sampler": sampler, "pruner": pruner, "doctor": doctor,
        "audit": audit, "best_seeds": best_seeds,
    }  # fmt: skip
    if space is not None:
        given["space"] = space
    found = open_search(out, given, storage=storage, name=name)
    return go_on(
        found, workers=workers, seconds=time, storage=storage, name=name, progress=progress
    )
