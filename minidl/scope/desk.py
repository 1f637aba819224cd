"""The desk: answers the page's requests from the engine, one at a time."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.resources import files
from typing import Any

from ..errors import ConfigError
from ..memory import release_freed_memory, share_freed_memory
from .film import film
from .pixel import true_change
from .record import Record
from .scenes import SCENES
from .settings import Settings, checked
from .subject import Network, Subject
from .views import look, network_view, operations_view

PARTS = ("network", "operations")
DELTA = 1e6  # how far a pixel may be changed
KEPT = 32e6  # bytes; a larger record is made again for each request


class Desk:
    """Answers for one subject. The last network is kept, because many requests ask about it."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self._lock = threading.Lock()
        self._last: tuple[Settings, Network] | None = None
        self._record: Record | None = None
        share_freed_memory()  # among the threads that ask

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One computation at a time. What it has freed goes back to the system."""
        with self._lock:
            try:
                yield
            finally:
                release_freed_memory()

    def facts(self) -> dict[str, Any]:
        """The facts that the page starts with: subject, controls, scenes, the doctor's rates."""
        subject = self.subject
        return {
            "facts": {
                "kind": subject.kind,
                "title": subject.title,
                "classes": list(subject.classes),
                "controls": [asdict(control) for control in subject.controls],
                "scenes": list(SCENES) if subject.kind == "lab" else [],
                "rates": doctor_rates(),
            }
        }

    def step(self, request: Any) -> dict[str, Any]:
        """The view of a step.

        request: {"settings": ..., "parts": some of PARTS, "image": its index in the batch}.
        Raises: ConfigError for a request that does not fit.
        """
        wanted = _field(request, "parts", ["network"])
        if not isinstance(wanted, list) or not set(map(str, wanted)) <= set(PARTS):
            raise ConfigError(f"parts: expected a list of {', '.join(PARTS)}")
        image = _whole(request, "image")
        with self._alone():
            network = self._network(request)
            found: dict[str, Any] = {"labels": labels_of(network)}
            if "network" in wanted:
                found["network"] = network_view(network)
            if "operations" in wanted:
                record = self._record or look(network)
                found["operations"] = operations_view(record, image)
                self._record = record if record.size <= KEPT else None
                del record  # before its memory is released
        return found

    def pixel(self, request: Any) -> dict[str, Any]:
        """{"change": the true change of the loss when one pixel changes}.

        request: {"settings", "image", "channel", "row", "column", "delta"}.
        Raises: ConfigError for a request that does not fit.
        """
        channel, row, column = (_whole(request, name) for name in ("channel", "row", "column"))
        delta = _field(request, "delta", None)
        if (
            isinstance(delta, bool)
            or not isinstance(delta, int | float)
            or not (abs(delta) <= DELTA)
        ):
            raise ConfigError(f"delta: expected a number from -{DELTA:g} to {DELTA:g}")
        image = _whole(request, "image")
        with self._alone():
            change = true_change(
                self._network(request), image, (channel, row, column), float(delta)
            )
        return {"change": change}

    def film(self, request: Any) -> Iterator[dict[str, Any]]:
        """The frames of a training with the settings of the request.

        Other requests wait until the last frame. Raises: ConfigError for wrong settings.
        """
        settings = checked(_field(request, "settings", {}), self.subject.controls)

        def frames() -> Iterator[dict[str, Any]]:
            with self._alone():
                yield from film(self.subject.network(settings))

        return frames()

    def _network(self, request: Any) -> Network:
        """The network of a request. If it is another than the last one, the record is forgotten."""
        settings = checked(_field(request, "settings", {}), self.subject.controls)
        if self._last is None or self._last[0] != settings:
            self._last = self._record = None  # free their memory before a new network is built
            self._last = settings, self.subject.network(settings)
        return self._last[1]


def doctor_rates() -> dict[str, Any]:
    """The doctor's error rates; `tools/doctor_rates.py` takes them from docs/doctor.md."""
    text = (files(__package__) / "doctor_rates.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def labels_of(network: Network) -> list[Any]:
    """The labels of the batch that is shown, if they are classes."""
    labels = network.first[1]
    return [int(label) for label in labels] if getattr(labels, "ndim", 0) == 1 else []


def _field(request: Any, name: str, default: Any) -> Any:
    if not isinstance(request, dict):
        raise ConfigError(f"request: expected a JSON object, got {type(request).__name__}")
    return request.get(name, default)


def _whole(request: Any, name: str) -> int:
    value = _field(request, name, 0)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 20:
        raise ConfigError(f"{name}: expected a whole number from 0 on")
    return value
