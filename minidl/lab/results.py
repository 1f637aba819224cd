"""The folder of the lab's results: lab.json holds one entry for each experiment, by its name."""

import json
import math
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..errors import CheckpointError, ConfigError
from ..files import write_bytes
from .registry import Evidence, Experiment, order

Entry = dict[str, Any]  # number, name, title, verdict, conclusion, rows, checks, series, ...


def entry(experiment: Experiment, evidence: Evidence, **more: Any) -> Entry:
    """One experiment and its evidence as plain values for JSON; NaN and infinity become null.

    more: other values to keep, such as seed, quick and seconds.
    """
    made = {key: value for key, value in vars(experiment).items() if key != "function"}
    made["expected as"] = "promise" if experiment.is_claim else "prediction"
    made |= {key: getattr(evidence, key) for key in ("verdict", "conclusion", "rows", "counts")}
    made["series"] = evidence.series
    made["checks"] = [asdict(c) | {"ok": c.ok, "allowed": c.allowed()} for c in evidence.checks]
    machine = {
        "minidl": __version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
    }
    return _plain(made | {"machine": machine} | more)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(v) for key, v in value.items()}
    if hasattr(value, "tolist"):  # arrays and NumPy's scalars
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read(folder: Path) -> dict[str, Entry]:
    """The entries of lab.json by the experiments' names; none where there is no such file.

    Raises: ConfigError where lab.json is not the lab's.
    """
    path = folder / "lab.json"
    try:
        found = {one["name"]: one for one in json.loads(path.read_text(encoding="utf-8"))}
        markdown(sorted(found.values(), key=lambda one: order(one["number"])))  # all can be shown
        return found
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(f"lab: cannot read {str(path)!r}: {error}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ConfigError(
            f"lab: expected {str(path)!r} to hold the lab's results, but it is damaged or another "
            "program's; move it away, or choose another folder with --out"
        ) from None


def keep(folder: Path, new: Entry) -> str:
    """Add an entry to lab.json and lab.md, beside those of other experiments.

    The file is read before each write, because another process may have added to it. Returns a
    message where an older entry of the same experiment was replaced, else "".
    Raises: ConfigError where the folder cannot be used.
    """
    entries = read(folder)
    old = entries.get(new["name"])
    entries[new["name"]] = new
    ordered = sorted(entries.values(), key=lambda one: order(one["number"]))
    text = json.dumps(ordered, indent=1, ensure_ascii=False, allow_nan=False)
    try:
        write_bytes(folder / "lab.json", f"{text}\n".encode())
        write_bytes(folder / "lab.md", markdown(ordered).encode())
    except CheckpointError as error:
        raise ConfigError(f"lab: {error}") from None
    return f"replaces the earlier result ({_made(old)})" if old else ""


def _made(one: Entry) -> str:
    return f"seed {one.get('seed')}, {'quick' if one.get('quick') else 'full'} form"


def markdown(entries: Sequence[Entry]) -> str:
    """lab.md: a summary, then for each experiment its conclusion, its checks and its table."""
    shown = ("title", "verdict", "seconds")
    parts = [
        "# The exploding-gradient lab",
        table([{"": one["number"]} | {key: one.get(key) for key in shown} for one in entries]),
    ]
    columns = ("what", "predicted", "measured", "allowed", "ok")
    for one in entries:
        machine = ", ".join(f"{key} {value}" for key, value in one.get("machine", {}).items())
        parts += [
            f"## {one['number']} {one['title']}",
            f"{one['conclusion']}",
            f"Setup: {one['setup']} {one.get('expected as', 'prediction').capitalize()}: "
            f"{one.get('expected', '')}. Source: {one.get('source', '')}.",
            table([{key: check[key] for key in columns} for check in one["checks"]]),
            f"Made with {_made(one)}; {machine}.",
        ]
    return "\n\n".join(parts) + "\n"


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as a Markdown table."""
    if not rows:
        return ""
    lines = ["| " + " | ".join(rows[0]) + " |", "|" + "---|" * len(rows[0])]
    lines += ["| " + " | ".join(_cell(value) for value in row.values()) + " |" for row in rows]
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if value is None or value != value:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.0f}" if value == int(value) and abs(value) < 1e4 else f"{value:.3g}"
    return str(value)
