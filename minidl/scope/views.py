"""The data that the page gets about one step of a network, ready for JSON."""

from dataclasses import asdict
from typing import Any

import numpy as np

from ..device import Array, to_host
from ..errors import ConfigError
from ..health.doctor import take_measurements
from ..health.probe import ACTIVATIONS, LayerCall
from ..health.report import plain, report_on
from ..health.theory import fan_in
from ..kernels.window import Window
from ..nn import Conv2d, Dense, Flatten, ReLU
from ..norms import rms
from ..optim import SGD
from .expected import expected_gradients, expected_signals
from .pack import FULL, pack, statistics
from .record import Operation, Record, Value, record_step
from .source import Place, Source, loops_of
from .subject import Network

SHALLOW = 3  # weighted layers at most: these networks are "shallow" in the doctor's study


def network_view(network: Network) -> dict[str, Any]:
    """Every weighted layer: signal and gradient beside theory, dead units, update over weight. And
    the doctor's report.

    "group" names the kind of networks whose error rates hold for this one. All numbers come from
    the doctor's own pass. `operations_view` shows a second pass, which gives the same numbers.
    """
    with network.same_numbers():
        found = take_measurements(
            network.model, network.first, network.optimizer, loss=network.loss, clip=network.clip
        )
    report, calls = report_on(found), found.calls
    updates = {row["layer"]: row["update_ratio"] for row in report.layers}
    signals = expected_signals(calls)
    gradients = expected_gradients(calls, signals)
    rows = [
        {
            "name": call.name,
            "kind": type(call.layer).__name__,
            "signal": call.out_rms,
            "expected_signal": signal,
            "gradient": call.gradient_rms,
            "expected_gradient": gradient,
            "update": updates.get(call.name),
            "dead": _dead_behind(call, calls),
            "fan_in": fan_in(call.layer),
            "sigma": rms(call.layer.weight.data),  # type: ignore[attr-defined]
        }
        for call, signal, gradient in zip(calls, signals, gradients, strict=True)
        if call.weighted
    ]
    view = {
        "loss": found.loss,
        "layers": rows,
        "activation": _activation(calls),
        "doctor": {
            "verdict": report.verdict,
            "regime": report.regime,
            "findings": [asdict(finding) for finding in report.findings],
            "numbers": report.numbers,
            "group": _studied_as(network, calls),
        },
    }
    plained: dict[str, Any] = plain(view)
    return plained


def _activation(calls: list[LayerCall]) -> str:
    return next((type(c.layer).__name__ for c in calls if isinstance(c.layer, ACTIVATIONS)), "")


def _dead_behind(call: LayerCall, calls: list[LayerCall]) -> float | None:
    """The share of dead units of the activation that follows a layer; None where none follows."""
    for other in calls:
        if isinstance(other.layer, ACTIVATIONS) and other.scaled_by is not None:
            before: LayerCall | None = other.scaled_by
            while before is not None and not before.weighted:
                before = before.source
            if before is call:
                return other.dead
    return None


def _studied_as(network: Network, calls: list[LayerCall]) -> str:
    """Which networks of the doctor's study this one is like: "plain", "various" or "shallow"."""
    if sum(call.weighted for call in calls) <= SHALLOW:
        return "shallow"
    optimizer = network.optimizer
    simple = all(type(call.layer) in (Conv2d, Dense, ReLU, Flatten) for call in calls)
    descent = isinstance(optimizer, SGD) and not optimizer.momentum
    return "plain" if simple and descent and network.clip is None else "various"


def operations_view(record: Record, image: int, width: int = FULL) -> dict[str, Any]:
    """Every operation, value and gradient. Arrays with a batch axis are shown for one image.

    image: its index in the batch. width: bytes of a value, see `pack`.
    Raises: ConfigError for an image that is not there.
    """
    images = len(record.values[0].data)
    if not 0 <= image < images:
        raise ConfigError(f"image: expected a number from 0 to {images - 1}, got {image}")
    sources: dict[str, dict[str, Any]] = {}

    def key(source: Source) -> str:
        name = f"{source.file}:{source.line}"
        sources.setdefault(name, asdict(source))
        return name

    def array(data: Array, value: Value) -> dict[str, Any]:
        shown = data[image] if value.batched else data
        return {
            "stats": statistics(data), "data": pack(np.atleast_1d(to_host(shown)), width)
        }  # fmt: skip

    values = [
        {
            "name": value.name,
            "kind": value.kind,
            "batched": value.batched,
            "shape": list(value.data.shape),
            "value": array(value.data, value),
            "gradient": None if value.gradient is None else array(value.gradient, value),
        }
        for value in record.values
    ]
    shared = {pull.into for pull in record.pulls if pull.operation is None}
    pulls = [
        {
            "operation": pull.operation,
            "into": pull.into,
            # A value's only part is its gradient, which is sent with the value already.
            "part": array(pull.gradient, record.values[pull.into])
            if pull.into in shared and pull.operation is not None
            else None,
        }
        for pull in record.pulls
    ]
    view = {
        "image": image,
        "loss": record.loss,
        "logits": record.logits[image] if record.logits.ndim == 2 else None,
        "values": values,
        "operations": [_operation(o, record, image, key, width) for o in record.operations],
        "pulls": pulls,
        "sources": sources,
    }
    if view["logits"] is not None:
        view["logits"] = to_host(view["logits"]).tolist()
    plained: dict[str, Any] = plain(view)
    return plained


def _operation(
    operation: Operation, record: Record, image: int, key: Any, width: int
) -> dict[str, Any]:
    """An operation, its source, and the places of its pullbacks in it."""
    places = [p for p in (*operation.formulas, operation.fast) if p is not None]
    winners = operation.winners
    return {
        "name": operation.name,
        "layer": operation.layer,
        "kind": operation.kind,
        "inputs": operation.inputs,
        "output": operation.output,
        "needed": list(operation.needed),
        "source": key(places[0].source) if places else None,
        "formulas": [_place(p) for p in operation.formulas],
        "fast": _place(operation.fast),
        "loops": [key(source) for source in loops_of(operation.name)],
        "window": _window(operation.window, operation.groups),
        "winners": None
        if winners is None
        else pack(to_host(winners)[image].astype(np.float32), width),
    }


def _place(place: Place | None) -> list[int] | None:
    return None if place is None else [place.start, place.end]


def _window(window: Window | None, groups: int) -> dict[str, Any] | None:
    if window is None:
        return None
    return {
        "size": window.size,
        "stride": window.stride,
        "pads": [window.pads[0], window.pads[2]],  # rows above, columns to the left
        "dilation": window.dilation,
        "groups": groups,
    }


def look(network: Network) -> Record:
    """The record of the network's first step."""
    with network.same_numbers():
        return record_step(network.model, *network.first, network.loss)
