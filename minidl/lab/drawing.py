"""The figure of an experiment: its numbers, and how they are drawn."""

import itertools
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .. import plot

Lines = Mapping[str, tuple[Sequence[Any], Sequence[Any]]]  # name: (xs, ys)


def curves(
    x: str,
    y: str,
    lines: Lines,
    predicted: Lines | None = None,
    *,
    log_x: bool = False,
    log_y: bool = False,
) -> dict[str, Any]:
    """The numbers of a figure of lines; predicted lines are drawn dashed.

    x, y: the words at the axes. log_x, log_y: axes on a log scale.
    """
    made: dict[str, Any] = {"x": x, "y": y, "lines": lines, "predicted": predicted}
    made |= {"log_x": log_x, "log_y": log_y}
    return {key: value for key, value in made.items() if value or key in ("x", "y")}


def bars(y: str, heights: Mapping[str, float]) -> dict[str, Any]:
    """The numbers of a figure of bars, each a share of 1."""
    return {"x": "", "y": y, "bars": heights}


def draw(title: str, series: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Draw the numbers that `curves` or `bars` made. Raises: ConfigError without matplotlib."""
    figure = _bars(series) if "bars" in series else _curves(series)
    figure.axes[0].set_title(title, loc="left", fontsize=11, fontweight="bold")
    figure.set_dpi(100)
    plot.write_figure(figure, path)


def _bars(series: Mapping[str, Any]) -> Any:
    heights = series["bars"]
    figure, axis = plot.new_figure(6.4, 0.9 + 0.36 * len(heights))
    names = list(heights)[::-1]
    shares = [float(heights[name]) for name in names]
    colors = [plot.COLORS[2] if share >= 0.8 else plot.COLORS[1] for share in shares]
    axis.barh(names, shares, color=colors)
    for at, share in enumerate(shares):
        axis.text(share + 0.01, at, f"{share:.0%}", va="center", fontsize=9)
    axis.set_xlim(0, 1.1)
    axis.set_xlabel(series["y"])
    axis.grid(False, axis="y")
    return figure


def _curves(series: Mapping[str, Any]) -> Any:
    figure, axis = plot.new_figure(6.4, 3.8)
    for kind, style in (("lines", {"markersize": 4}), ("predicted", {"linewidth": 1})):
        for color, (name, (x, y)) in zip(
            itertools.cycle(plot.COLORS), series.get(kind, {}).items(), strict=False
        ):
            marks = "--" if kind == "predicted" else "o-" if len(x) <= 30 else "-"
            axis.plot(x, y, marks, color=color, label=name, **style)
    axis.set(xlabel=series["x"], ylabel=series["y"])
    axis.set(xscale="log" if series.get("log_x") else "linear")
    axis.set(yscale="log" if series.get("log_y") else "linear")
    if series.get("log_x"):
        ticks = _apart(x for xs, _ in series["lines"].values() for x in xs)
        axis.set_xticks(ticks, [f"{x:,g}" for x in ticks])
        axis.minorticks_off()
    axis.legend(frameon=False, fontsize=8)
    return figure


def _apart(values: Iterable[float]) -> list[float]:
    """Values far enough apart on a log scale for their labels not to touch."""
    kept: list[float] = []
    for value in sorted(values):
        if not kept or value > 1.3 * kept[-1]:
            kept.append(value)
    return kept
