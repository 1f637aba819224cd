"""What the doctor found, in words, numbers and files."""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ConfigError


@dataclass(frozen=True)
class Finding:
    """One thing that was measured and lies outside its range.

    code: a name for programs. layer: its path in the model, or "model". threshold: the bound that
    measured passed; predicted: what theory or a healthy network gives, where that is known.
    evidence: why the bound stands where it does. prescription: what to do about it.
    """

    code: str
    layer: str
    measured: float
    predicted: float | None
    threshold: float
    evidence: str
    prescription: str
    severity: str = "amber"  # or "red"


@dataclass
class Report:
    """The doctor's verdict on a model before it is trained.

    verdict: "healthy", "watch", "will diverge" or "will not learn". regime: "signal explodes",
    "rate too high", "signal vanishes", "dead" or "none". layers: a row per layer, in the order of
    the forward pass. remedy: the prescriptions as settings: {"init": ..., "lr": ..., "input": ...}.
    """

    verdict: str
    regime: str
    findings: list[Finding]
    layers: list[dict[str, Any]]
    numbers: dict[str, float]
    remedy: dict[str, Any] = field(default_factory=dict)

    def table(self) -> str:
        """The layers, the findings and the verdict as text for a terminal."""
        head = ("layer", "type", "signal", "predicted", "gradient", "update/weight", "dead")
        rows = [head]
        for row in self.layers:
            rows.append(
                (
                    row["layer"],
                    row["type"],
                    f"{row['signal']:.3g}",
                    "-" if row["predicted"] is None else f"{row['predicted']:.3g}",
                    f"{row['gradient']:.3g}",
                    "-" if row["update_ratio"] is None else f"{row['update_ratio']:.2g}",
                    f"{row['dead']:.0%}",
                )
            )
        wide = [max(len(r[i]) for r in rows) for i in range(len(head))]
        lines = ["  ".join(c.ljust(w) for c, w in zip(r, wide, strict=True)).rstrip() for r in rows]
        lines.insert(1, "-" * max(map(len, lines)))
        lines.append("")
        for f in self.findings:
            expected = "" if f.predicted is None else f", predicted {f.predicted:.3g}"
            lines.append(
                f"[{f.severity}] {f.code} ({f.layer}): {f.measured:.3g}{expected}, bound "
                f"{f.threshold:.3g}\n    {f.evidence}\n    -> {f.prescription}"
            )
        lines.append(f"verdict: {self.verdict}    regime: {self.regime}")
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.table()

    def to_json(self, path: str | os.PathLike[str]) -> None:
        """Write everything to a JSON file; what is not finite is written as a string.

        Raises: ConfigError where it cannot be written.
        """
        text = json.dumps(_plain(asdict(self)), indent=2, allow_nan=False, ensure_ascii=False)
        write_text("Report.to_json", path, text + "\n")

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draw signal and gradient by layer beside their predictions, and the update ratios."""
        from .. import plot

        plot.report(self.layers, self.verdict, self.regime, path)


def write_text(call: str, path: str | os.PathLike[str], text: str) -> None:
    """Write a file of text. Raises: ConfigError where it cannot be written."""
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"{call}: cannot write {os.fspath(path)!r}: {error.strerror or error}; choose a file "
            "in a folder that exists"
        ) from None


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and value - value != 0:  # inf or nan: JSON has neither
        return str(value)
    return value
