"""Figures of gradient health: the monitor's numbers, and the doctor's report."""

from typing import Any

import numpy as np

from ..errors import ConfigError
from .figures import COLORS, GREY, PathLike, new_figure, positive, shade, write_figure
from .training import LEGEND_LIMIT


def monitor(
    layers: list[str],
    gradient: np.ndarray,
    lost: np.ndarray,
    measured: np.ndarray,
    predicted: np.ndarray,
    ratio: np.ndarray,
    clipped: np.ndarray,
    path: PathLike | None = None,
) -> Any:
    """log₁₀ gradient by layer and step; the signal's growth beside theory; ‖update‖/‖weight‖.

    Where gradients were clipped, the share of the norm that clipping took away is drawn in grey
    behind the ratios. lost: whether NaN or Inf was among the gradients; an arrow points at the
    first place.
    Shapes: gradient, lost, ratio, clipped (layers, steps), measured and predicted (layers - 1,).
    Raises: ConfigError as in `curves`.
    """
    if not gradient.size:
        raise ConfigError("plot.monitor: the monitor saw no steps; train first")
    figure, (heat, growth, below) = new_figure(9, 9.5, 3)
    heat.grid(False)
    with np.errstate(invalid="ignore", divide="ignore"):
        image = heat.imshow(
            np.log10(positive(gradient)), aspect="auto", cmap="viridis", origin="lower",
            interpolation="nearest",
        )  # fmt: skip
    figure.colorbar(image, ax=heat, label="log₁₀ RMS gradient")
    heat.set_yticks(range(len(layers)), layers, fontsize=8)
    heat.set_ylabel("layer")
    heat.set_xlabel("step")
    bad = np.argwhere(lost.T)
    if len(bad):
        step, layer = bad[0]
        heat.annotate(
            "first not finite",
            *((step, layer), (-60, 0)),
            textcoords="offset points", color="red", ha="right", va="center", fontsize=9,
            arrowprops={"arrowstyle": "->", "color": "red"},
        )  # fmt: skip
    heat.set_title("Gradient health", loc="left", fontweight="bold")
    at = np.arange(1, len(layers))
    growth.plot(at, predicted, "x--", color=GREY, label="predicted, √(fan_in·E w²/2)")
    growth.plot(at, measured, "o-", color=COLORS[0], label="measured at the first step")
    growth.axhline(1, color="black", linewidth=0.6)
    growth.set_xticks(at, layers[1:], fontsize=8)
    growth.set_xlabel("layer")
    growth.set_ylabel("growth of the signal")
    growth.legend(frameon=False, fontsize=9)
    for index, (name, values) in enumerate(zip(layers, ratio, strict=True)):
        below.plot(positive(values), color=shade(index, len(layers)), linewidth=1.1, label=name)
    below.set_yscale("log")
    below.axhline(1, color="red", linestyle="--", linewidth=1, label="1: as large")
    below.axhline(1e-3, color=GREY, linestyle=":", linewidth=1, label="0.001: usual")
    below.set_xlabel("step")
    below.set_ylabel("‖update‖ / ‖weight‖")
    share = np.nan_to_num(clipped).max(0)
    aside = 1.01
    if share.any():
        aside = 1.1  # past the axis
        right = below.twinx()
        right.fill_between(np.arange(len(share)), share, step="mid", color=GREY, alpha=0.2)
        right.set_ylim(0, 1)
        right.set_ylabel("share clipped (grey)")
    if len(layers) <= LEGEND_LIMIT:
        below.legend(loc="center left", bbox_to_anchor=(aside, 0.5), frameon=False, fontsize=8)
    return write_figure(figure, path)


def report(
    layers: list[dict[str, Any]], verdict: str, regime: str, path: PathLike | None = None
) -> Any:
    """The doctor's report: signal beside its prediction, gradient, and update ratio, by layer.

    layers, verdict, regime: as in `md.health.Report`. Raises: ConfigError as in `curves`.
    """
    rows = [row for row in layers if row["weighted"]]
    if not rows:
        raise ConfigError("plot.report: the model has no Dense or convolution layer to draw")
    figure, (signal, gradient, update) = new_figure(8, 7.5, 3, sharex=True)
    at, names = np.arange(len(rows)), [row["layer"] for row in rows]

    def values(key: str) -> np.ndarray:
        return positive(np.array([np.nan if r[key] is None else r[key] for r in rows], dtype=float))

    signal.plot(at, values("signal"), "o-", color=COLORS[0], label="measured")
    signal.plot(at, values("predicted"), "--", color=GREY, label="predicted")
    signal.legend(frameon=False, fontsize=9, ncols=2)
    signal.set_ylabel("signal (RMS)")
    signal.set_title(f"{verdict} — {regime}", loc="left", fontweight="bold")
    gradient.plot(at, values("gradient"), "s-", color=COLORS[1])
    gradient.set_ylabel("gradient (RMS)")
    update.bar(at, values("update_ratio"), color=COLORS[2])
    update.axhline(1, color="red", linestyle="--", linewidth=1, label="as large as the weight")
    update.legend(frameon=False, fontsize=9)
    update.set_ylabel("‖update‖ / ‖weight‖")
    for axis in (signal, gradient, update):
        if any(np.isfinite(line.get_ydata()).any() for line in axis.lines[:1]) or axis is update:
            axis.set_yscale("log")
    update.set_xticks(at, names)
    update.set_xlabel("layer, from the input")
    return write_figure(figure, path)
