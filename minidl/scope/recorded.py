"""The page with its answers in it: recorded scenes and a grid of settings, in one HTML file.

Three things are recorded: views of the network for every combination of a `Plan`'s settings,
trainings for some of them, and all operations of the scenes' networks. They are compressed before
they are written as base64: without that the file would be more than twice as large.
"""

import base64
import gzip
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..files import write_bytes
from ..health.report import plain
from .desk import Desk, labels_of
from .film import film
from .pack import SHORT, pack
from .page import whole_page
from .pixel import images_are_apart, true_changes
from .scenes import SCENES
from .settings import CONTROLS, Control, Settings, checked
from .subject import LabNetwork
from .views import look, network_view, operations_view

DESCENT = ("rate", "optimizer", "clip")  # settings that do not change the first step's operations
DELTAS = (1, -1)  # changes of a pixel whose true effect on the loss is recorded
DIGITS = 5  # of each recorded number, except those of the operations
FINDINGS = 3  # of a report: as many as the page shows


@dataclass(frozen=True)
class Plan:
    """The settings that are recorded. Each part holds values for some controls; all combinations of
    them are recorded, with the other controls at their defaults.

    grid: parts for views of the network. filmed: parts for views and trainings.
    """

    grid: tuple[dict[str, tuple[Any, ...]], ...]
    filmed: tuple[dict[str, tuple[Any, ...]], ...]

    def stops(self, name: str) -> tuple[Any, ...]:
        """Every recorded value of a control, the scenes' included; numbers in increasing order."""
        parts = [part.get(name, ()) for part in (*self.grid, *self.filmed)]
        parts += [(settings[name],) for settings in _scene_settings()]
        found = dict.fromkeys(value for part in parts for value in part)
        return (
            tuple(found) if any(isinstance(v, str | None) for v in found) else tuple(sorted(found))
        )


SCALES = (0.25, 0.4, 0.6, 0.8, 1.0, 1.25, 1.6, 2.0, 2.46, 4.0)
BODIES = ("plain", "batch_norm", "residual")
FULL = Plan(
    grid=(
        {
            "scale": SCALES,
            "depth": (4, 8, 16),
            "activation": ("relu", "tanh"),
            "body": BODIES,
        },
    ),
    filmed=(
        {"scale": SCALES, "rate": (0.01, 0.03, 0.1, 0.3, 1.0)},
        {"scale": SCALES, "body": BODIES},
        {"rate": (0.01, 0.03, 0.1), "optimizer": ("sgd", "adam")},
    ),
)


def export(
    path: str | os.PathLike[str], plan: Plan = FULL, say: Callable[[str], Any] = lambda text: None
) -> int:
    """Write the page with everything recorded to a file; return its size in bytes.

    say: called with a line about the progress, now and then.
    Raises: ConfigError where there is no such folder; DataError where the digits are missing;
    OSError where the file cannot be written.
    """
    folder = Path(path).resolve().parent
    if not folder.is_dir():  # said now, not after minutes of recording
        raise ConfigError(f"scope: there is no folder {str(folder)!r} to write the page to")
    subject = LabNetwork()
    facts = Desk(subject).facts()
    facts["facts"]["controls"] = [c for c in map(_recorded, CONTROLS, [plan] * len(CONTROLS)) if c]
    text = json.dumps(
        _recording(subject, plan, say), allow_nan=False, ensure_ascii=False, separators=(",", ":")
    )
    packed = base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode("ascii")
    page = whole_page(facts | {"recorded": packed}).encode()
    write_bytes(path, page)
    return len(page)


def _recorded(control: Control, plan: Plan) -> dict[str, Any] | None:
    """A control with the recorded values as its only ones; None where there is only one."""
    stops = plan.stops(control.name)
    if len(stops) < 2:
        return None
    fields = replace(control, choices=stops) if control.kind == "choice" else control
    return vars(fields) | ({} if control.kind == "choice" else {"stops": stops})


def _scene_settings() -> list[Settings]:
    """The settings of the scenes. A scene that compares two networks has two."""
    found = []
    for scene in SCENES:
        settings = checked(scene["settings"])
        found.append(settings)
        if "compare" in scene:
            name, value = scene["compare"]
            found.append(settings | {name: value})
    return found


def key(settings: Settings, without: tuple[str, ...] = ()) -> str:
    """A name for settings: those that differ from the defaults. `key` in page/supply.js must give
    the same name.
    """
    differ = [c for c in CONTROLS if c.name not in without and settings[c.name] != c.default]
    return " ".join(f"{c.name}={_as_in_javascript(settings[c.name])}" for c in differ)


def _as_in_javascript(value: Any) -> str:
    return "null" if value is None else f"{value:.12g}" if isinstance(value, float) else str(value)


def _combinations(parts: Iterable[dict[str, tuple[Any, ...]]]) -> Iterator[Settings]:
    for part in parts:
        for values in product(*part.values()):
            yield checked(dict(zip(part, values, strict=True)))


def _recording(subject: LabNetwork, plan: Plan, say: Callable[[str], Any]) -> dict[str, Any]:
    scenes = _scene_settings()
    filmed = {key(s): s for s in (*scenes, *_combinations(plan.filmed))}
    viewed = {key(s): s for s in (*filmed.values(), *_combinations(plan.grid))}
    operated = {key(s, DESCENT): s for s in scenes}
    views: dict[str, Any] = {}
    films: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    for number, (name, settings) in enumerate(viewed.items()):
        if number % 50 == 0:
            say(f"networks: {number} of {len(viewed)}")
        views[name] = _view(network_view(subject.network(settings)))
    for number, (name, settings) in enumerate(filmed.items()):
        if number % 20 == 0:
            say(f"trainings: {number} of {len(filmed)}")
        films[name] = [_rounded(plain(frame)) for frame in film(subject.network(settings))]
    for name, settings in operated.items():
        say(f"operations and pixels of the scenes: {len(operations)} of {len(operated)}")
        network = subject.network(settings)
        operations[name] = {
            "labels": labels_of(network)[:1],
            "operations": operations_view(look(network), 0, SHORT),
            "pixels": {str(d): pack(true_changes(network, 0, d), SHORT) for d in DELTAS}
            if images_are_apart(network.model)
            else None,
        }
    return {"views": views, "films": films, "operations": operations}


def _view(view: dict[str, Any]) -> dict[str, Any]:
    doctor = view["doctor"]
    shown = {"findings": doctor["findings"][:FINDINGS], "numbers": {}}
    rounded: dict[str, Any] = _rounded(view | {"doctor": doctor | shown})
    return rounded


def _rounded(value: Any) -> Any:
    """Plain data with fewer digits."""
    if isinstance(value, dict):
        return {name: _rounded(v) for name, v in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(v) for v in value]
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value
