"""Runs experiments and writes what they found: lab.json, lab.md and a figure for each."""

import json
import os
import platform
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from .. import __version__
from ..data.bar import progress_bar
from ..errors import ConfigError
from .pages import Record, draw, record, table
from .registry import Check, Experiment, Result, find


def run(
    names: Iterable[str] = (),
    *,
    quick: bool = False,
    seed: int = 0,
    out: str | os.PathLike[str] | None = "runs/lab",
    progress: bool = True,
    say: Callable[[str], None] | None = None,
) -> list[Record]:
    """Run the experiments of these names or numbers (all for none); return what they found.

    quick: a reduced form of each. seed: decides every random number.
    out: the folder for lab.json, lab.md and NAME.png; they are written after each experiment, so
    that a run that is stopped keeps what it has. None writes nothing.
    say: called with a line for each experiment.
    Raises: ConfigError for an unknown name, a negative seed, or a folder that cannot be written.
    """
    experiments = find(names)
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ConfigError(f"lab: expected seed to be an integer >= 0, got {seed!r}")
    say = say or (lambda line: None)
    folder = None if out is None else _folder(Path(out))
    records: list[Record] = []
    figures = True
    with progress_bar("lab", len(experiments), show=progress) as advance:
        for experiment in experiments:
            begun = time.perf_counter()
            result = experiment(seed, quick)
            seconds = round(time.perf_counter() - begun, 2)
            records.append(
                record(
                    experiment,
                    result,
                    source=experiment.source,
                    prediction=experiment.prediction,
                    seed=seed,
                    quick=quick,
                    seconds=seconds,
                    machine=machine(),
                )
            )
            say(line(experiment, result, seconds))
            advance(1)
            if folder is not None:
                text = json.dumps(records, indent=1, ensure_ascii=False, allow_nan=False)
                (folder / "lab.json").write_text(text + "\n", encoding="utf-8")
                (folder / "lab.md").write_text(markdown(records), encoding="utf-8")
                if figures and result.series:
                    try:
                        draw(result.series, folder / f"{experiment.name}.png")
                    except (
                        ConfigError
                    ) as error:  # no matplotlib: the numbers are there all the same
                        figures = False
                        say(f"no figures: {error}")
    return records


def line(experiment: Experiment, result: Result, seconds: float) -> str:
    """What is said when an experiment is done."""
    kept = sum(check.ok for check in result.checks)
    text = (
        f"{experiment.number:>3}  {experiment.name}: {result.verdict.upper()}, "
        f"{kept} of {len(result.checks)} checks, {seconds:.1f} s\n     {result.conclusion}"
    )
    if not experiment.number.startswith("P"):  # a claim's checks are its promises
        return text
    return "".join([text, *(f"\n     off: {_off(c)}" for c in result.checks if not c.ok)])


def _off(check: Check) -> str:
    return (
        f"{check.what}: predicted {check.predicted:.6g}, measured {check.measured:.6g}, "
        f"allowed {check.allowed()}"
    )


def machine() -> dict[str, str | int | None]:
    """What the numbers were made with."""
    return {
        "minidl": __version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
    }


def markdown(records: list[Record]) -> str:
    """lab.md: a summary, then for each experiment its conclusion, its checks and its table."""
    first = records[0]
    form = "quick" if first["quick"] else "full"
    made = ", ".join(f"{key} {value}" for key, value in first["machine"].items())
    parts = [
        "# The exploding-gradient lab",
        f"Seed {first['seed']}, {form} form, {sum(r['seconds'] for r in records):.0f} s; {made}.",
        table(
            [
                {
                    "": r["number"],
                    "experiment": r["title"],
                    "verdict": r["verdict"],
                    "checks": f"{sum(c['ok'] for c in r['checks'])} of {len(r['checks'])}",
                    "seconds": r["seconds"],
                }
                for r in records
            ]
        ),
    ]
    for r in records:
        parts += [
            f"## {r['number']} {r['title']}",
            f"{r['conclusion']}",
            f"Setup: {r['setup']}. Prediction: {r['prediction']}. Source: {r['source']}.",
            table(
                [
                    {
                        "check": c["what"],
                        "predicted": c["predicted"],
                        "measured": c["measured"],
                        "allowed": c["allowed"],
                        "ok": "yes" if c["ok"] else "no",
                    }
                    for c in r["checks"]
                ]
            ),
        ]
    return "\n\n".join(parts) + "\n"


def _folder(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True)
        (path / "lab.json").write_text("[]\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"lab: cannot write to {str(path)!r}: {error}") from None
    return path
