"""How the cost of a training step grows with batch, width, depth and image size."""

from pathlib import Path
from typing import Any

import numpy as np
from cases import Case
from driver import measure

BASE = {"batch": 64, "width": 32, "depth": 4, "size": 48}
GROWS = {
    "batch": (8, 16, 32, 64, 128, 256, 512),
    "width": (8, 16, 32, 64, 128, 256),
    "depth": (2, 4, 8, 16, 32),
    "size": (16, 32, 64, 128),
}


def curves(rounds: int, seconds: float) -> dict[str, Any]:
    """Points of (value, operations, seconds) for each measure."""
    found: dict[str, list[dict[str, Any]]] = {}
    for what, values in GROWS.items():
        found[what] = []
        for value in values:
            now = BASE | {what: value}
            batch = now.pop("batch")
            options = {**now, "in_channels": 1}
            run = measure(
                Case(what, "deep_plain_cnn", batch, engines=("minidl",), options=options),
                rounds,
                seconds,
            )
            median = float(np.median(run["engines"]["minidl"]["seconds"]))
            found[what].append({"value": value, "operations": run["operations"], "seconds": median})
    return {"curves": found}


def draw(run: dict[str, Any], path: Path) -> None:
    """Time by work, one panel per measure, beside a line of slope 1 through the last point."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(run["curves"]), figsize=(12, 3.2), layout="constrained")
    for axis, (what, points) in zip(axes, run["curves"].items(), strict=True):
        work = np.array([p["operations"] for p in points]) / 1e9
        seconds = np.array([p["seconds"] for p in points]) * 1e3
        axis.loglog(work, seconds, "o-", label="measured")
        axis.loglog(work, seconds[-1] * work / work[-1], "--", color="gray", label="linear")
        for point, x, y in zip(points, work, seconds, strict=True):
            axis.annotate(str(point["value"]), (x, y), (4, -10), textcoords="offset points")
        axis.set(title=what, xlabel="G operations per step")
    axes[0].set_ylabel("ms per step")
    axes[0].legend()
    figure.savefig(path, dpi=100)
    plt.close(figure)
