"""Runs experiments, one after the other, and keeps their results."""

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from ..data.bar import progress_bar
from ..errors import ConfigError
from ..files import writable_folder
from .drawing import draw
from .registry import Check, Evidence, Experiment, find
from .results import Entry, entry, keep, read


def run_experiments(
    names: Iterable[str] = (),
    *,
    quick: bool = False,
    seed: int = 0,
    out: str | os.PathLike[str] | None = "runs/lab",
    progress: bool = True,
    say: Callable[[str], None] | None = None,
) -> list[Entry]:
    """Run the experiments of these names or numbers (all for none); return their results.

    quick: a reduced form of each. seed: decides every random number.
    out: the folder for lab.json, lab.md and NAME.png. Results of other experiments that are there
    stay. The folder is written after each experiment, so that a lab that is stopped keeps what it
    has. None writes nothing.
    say: called with a line for each experiment.
    Raises: ConfigError for an unknown name or a negative seed; CheckpointError for a folder that
    cannot be used.
    """
    experiments = find(names)
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ConfigError(f"lab: expected seed to be an integer >= 0, got {seed!r}")
    say = say or (lambda line: None)
    folder = None if out is None else _folder(Path(out))
    made: list[Entry] = []
    figures = True
    with progress_bar("lab", len(experiments), show=progress) as advance:
        for experiment in experiments:
            begun = time.perf_counter()
            evidence = experiment(seed, quick)
            seconds = round(time.perf_counter() - begun, 2)
            made.append(entry(experiment, evidence, seed=seed, quick=quick, seconds=seconds))
            say(line(experiment, evidence, seconds))
            advance(1)
            if folder is None:
                continue
            if replaced := keep(folder, made[-1]):
                say(f"     {replaced}")
            if figures:
                try:
                    draw(experiment.title, evidence.series, folder / f"{experiment.name}.png")
                except ConfigError as error:  # no matplotlib: the numbers are there all the same
                    figures = False
                    say(f"no figures: {error}")
    return made


def line(experiment: Experiment, evidence: Evidence, seconds: float) -> str:
    """The message when an experiment is done: verdict, time, conclusion, and failed checks."""
    kept = sum(check.ok for check in evidence.checks)
    what = "promises kept" if experiment.is_claim else "checks"
    text = (
        f"{experiment.number:>3}  {experiment.name}: {evidence.verdict.upper()}, "
        f"{kept} of {len(evidence.checks)} {what}, {seconds:.1f} s\n     {evidence.conclusion}"
    )
    off = () if experiment.is_claim else (c for c in evidence.checks if not c.ok)
    return "".join([text, *(f"\n     off: {_off(check)}" for check in off)])


def _off(check: Check) -> str:
    predicted = "" if check.predicted is None else f"predicted {check.predicted:.6g}, "
    return f"{check.what}: {predicted}measured {check.measured:.6g}, allowed {check.allowed()}"


def _folder(path: Path) -> Path:
    writable_folder("lab", path)
    read(path)  # a lab.json that is not the lab's is refused before the first experiment
    return path
