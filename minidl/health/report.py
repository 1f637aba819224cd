"""Stage 7: the doctor's result, as text, HTML, JSON and a figure."""

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from html import escape
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ConfigError
from ..notebook import table
from . import theory
from .measure import Measurements
from .remedies import in_words, prescribe, remedy
from .rules import Finding, by_cause, find, judge, signal_growth
from .strain import expected_change, strain, total_change

_HEAD = ("layer", "type", "signal", "predicted", "gradient", "update/weight", "dead")


@dataclass
class Report:
    """The doctor's verdict on a model before it is trained.

    verdict: "healthy", "watch", "will diverge" or "will not learn". regime: the cause, "signal
    explodes", "rate too high", "signal vanishes", "dead" or "none". findings: the signs of the
    cause first. layers: a row per layer, in the order of the forward pass. "signal" and "gradient"
    are root mean squares of the layer's output and of the loss's gradient by it. "predicted" is
    the signal by theory, "update_ratio" is ‖update‖/‖weight‖, "dead" the share of dead units.
    numbers: measurements of the whole model, by name. "largest_strain" is the critical strain, and
    "chance" the loss of a guess. remedy: the cure of the cause as settings, of {"init": ...,
    "bias": ..., "lr": ..., "input": ...}.
    """

    verdict: str
    regime: str
    findings: list[Finding]
    layers: list[dict[str, Any]]
    numbers: dict[str, float]
    remedy: dict[str, Any] = field(default_factory=dict)

    def table(self, place: str = "code", given: Callable[[float], float] = float) -> str:
        """The layers, the findings and the verdict as text.

        place: how cures are written: as "code", or as options of the "command line". given: how the
        reader has to give a learning rate, where that is not the rate itself.
        Raises: ConfigError for another place.
        """
        rows = [_HEAD, *self._cells()]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        lines.insert(1, "-" * max(map(len, lines)))
        return "\n".join([*lines, "", self.advice(place, given)])

    def advice(self, place: str = "code", given: Callable[[float], float] = float) -> str:
        """The findings with their cures, and the verdict. place, given, Raises: as for `table`.

        Findings of one cause stand together, with their cure below the last of them.
        """
        lines = []
        for cure, findings in groupby(self.findings, key=lambda f: f.cure):
            for f in findings:
                expected = "" if f.predicted is None else f", should be {f.predicted:.3g}"
                numbers = f"{f.measured:.3g}{expected}, bound {f.threshold:.3g}"
                lines += [f"[{f.severity}] {f.code} ({f.layer}): {numbers}", f"    {f.evidence}"]
            lines.append(f"    -> {in_words(cure, place, given)}")
        return "\n".join([*lines, f"verdict: {self.verdict}    regime: {self.regime}"])

    def _cells(self) -> list[tuple[str, ...]]:
        return [
            (
                *(row["layer"], row["type"], f"{row['signal']:.3g}"),
                "-" if row["predicted"] is None else f"{row['predicted']:.3g}",
                f"{row['gradient']:.3g}",
                "-" if row["update_ratio"] is None else f"{row['update_ratio']:.2g}",
                f"{row['dead']:.0%}",
            )
            for row in self.layers
        ]

    def __str__(self) -> str:
        return self.table()

    def _repr_html_(self) -> str:
        """The report in a notebook."""
        return f"{table(_HEAD, self._cells())}<pre>{escape(self.advice())}</pre>"

    def to_json(self, path: str | os.PathLike[str]) -> None:
        """Write everything to a JSON file. Infinite numbers and NaN are written as strings.

        Raises: ConfigError where it cannot be written.
        """
        text = json.dumps(plain(asdict(self)), indent=2, allow_nan=False, ensure_ascii=False)
        write_text("Report.to_json", path, text + "\n")

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """The figure of signal and gradient by layer beside their predictions, and update ratios.

        path: a file to write it to. Raises: ConfigError where that cannot be written.
        """
        from .. import plot

        return plot.report(self.layers, self.verdict, self.regime, path)


def report_on(m: Measurements) -> Report:
    """The report that follows from the measurements, through rules and remedies."""
    findings = find(m)
    verdict, regime = judge(m, findings)
    findings = prescribe(m, by_cause(findings, regime), regime)
    rows = [
        {
            "layer": call.name,
            "type": type(call.layer).__name__,
            "weighted": call.weighted,
            "signal": call.out_rms,
            "predicted": theory.predicted_rms(call),
            "gradient": call.gradient_rms,
            "update_ratio": m.step.ratios.get(call.name) if call.weighted else None,
            "dead": call.dead,
        }
        for call in m.calls
    ]
    now = strain(m)
    beta, spread = theory.seed_spread([theory.fan_in(call.layer) for call in m.weighted])
    numbers = {
        "loss": m.loss,
        "chance": m.chance_loss,
        "change": total_change(m),
        "expected_change": expected_change(m),
        "strain": now.value,
        "largest_strain": now.critical,
        "signal_growth": signal_growth(m),
        "input_scale": m.input_rms,
        "logit_scale": m.logit_rms,
        "gradient": m.gradient,
        "beta": beta,
        "seed_spread": spread,
    }
    return Report(verdict, regime, findings, rows, numbers, remedy(m, regime))


def write_text(call: str, path: str | os.PathLike[str], text: str) -> None:
    """Write a file of text. Raises: ConfigError where it cannot be written."""
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"{call}: cannot write {os.fspath(path)!r}: {error.strerror or error}; choose a file "
            "in a folder that exists"
        ) from None


def plain(value: Any) -> Any:
    """The value in JSON's types: inf and nan become strings, NumPy's numbers Python's."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and value - value != 0:  # inf or nan: JSON has neither
        return str(value)
    return value
