"""Figures of trainings: curves, gradient norms, several runs side by side."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from ..errors import ConfigError
from .figures import (
    COLORS,
    GREY,
    PathLike,
    finite,
    literal,
    new_figure,
    positive,
    shade,
    write_figure,
)

LEGEND_LIMIT = 7  # more layers than this get a colour scale instead of a legend
_PREFIX = "gradient_norm/"


class Columns(Protocol):
    """The numbers that are drawn: columns by name, as in `md.train.History`."""

    @property
    def steps(self) -> Mapping[str, np.ndarray]:
        """Columns with one value for each step."""

    @property
    def epochs(self) -> Mapping[str, np.ndarray]:
        """Columns with one value for each epoch."""


def curves(history: Columns, path: PathLike | None = None) -> Any:
    """Loss, accuracy and learning rate over the steps; training beside validation.

    Raises: ConfigError if matplotlib is missing, nothing was recorded, or the file cannot be
    written.
    """
    steps, epochs = history.steps, history.epochs
    _check_recorded("curves", steps)
    figure, (above, middle, below) = new_figure(
        8, 7.5, 3, sharex=True, gridspec_kw={"height_ratios": [3, 3, 1.4]}
    )
    ends = _epoch_ends(steps, len(epochs["epoch"]))
    for axis, name in ((above, "loss"), (middle, "accuracy")):
        axis.plot(
            steps["step"], finite(steps[name]), color=COLORS[5], linewidth=0.8, alpha=0.55,
            label="training, each batch",
        )  # fmt: skip
        parts = {"training": (f"train_{name}", COLORS[0], "o")}
        parts["validation"] = (f"validation_{name}", COLORS[1], "s")
        for label, (column, color, marker) in parts.items():
            if column in epochs and len(ends):
                axis.plot(
                    ends, finite(epochs[column]), color=color, marker=marker, markersize=4,
                    linewidth=1.8, label=f"{label}, each epoch",
                )  # fmt: skip
    above.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=3, frameon=False, fontsize=9)
    above.set_ylabel("loss (nats)")
    above.set_title("Training curves", loc="left", fontweight="bold")
    _loss_scale(above, steps["loss"])
    middle.set_ylabel("accuracy (share correct)")
    middle.set_ylim(-0.02, 1.02)
    below.plot(steps["step"], steps["learning_rate"], color=COLORS[2], linewidth=1.5)
    below.set_ylabel("learning rate")
    below.set_ylim(bottom=0)
    below.set_xlabel("step (one batch each)")
    return write_figure(figure, path)


def compared(
    names: Sequence[str], histories: Sequence[Columns], path: PathLike | None = None
) -> Any:
    """Loss and accuracy by epoch of several runs: training dashed, validation solid.

    Raises: ConfigError as in `curves`.
    """
    figure, axes = new_figure(8, 6.5, 2, sharex=True)
    losses = []
    for i, (name, history) in enumerate(zip(names, histories, strict=True)):
        epochs, color = history.epochs, COLORS[i % len(COLORS)]
        for axis, what in zip(axes, ("loss", "accuracy"), strict=True):
            for part, style in (("train", "--"), ("validation", "-")):
                values = epochs.get(f"{part}_{what}")
                if values is None or not len(values):
                    continue
                solid = part == "validation"
                axis.plot(
                    epochs["epoch"], finite(values), style, color=color, marker="o" * solid,
                    markersize=3, linewidth=1.6 if solid else 1,
                    label=literal(name) if solid else None,
                )  # fmt: skip
                losses += [values] if what == "loss" else []
    if not losses:
        raise ConfigError("plot.compared: none of the runs has ended an epoch")
    above, below = axes
    above.set_ylabel("loss (nats)")
    above.set_title("validation solid, training dashed", loc="left", fontsize=10)
    _loss_scale(above, np.concatenate(losses))
    below.set_ylabel("accuracy")
    below.set_xlabel("epoch")
    below.xaxis.get_major_locator().set_params(integer=True)
    below.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), frameon=False, fontsize=9)
    return write_figure(figure, path)


def gradients(history: Columns, path: PathLike | None = None) -> Any:
    """The gradient norm of each layer, and of all together, over the steps, on a log scale.

    Raises: ConfigError as in `curves`.
    """
    steps = history.steps
    _check_recorded("gradients", steps)
    names = [name for name in steps if name.startswith(_PREFIX)]
    figure, axis = new_figure(9, 4.8)
    many = len(names) > LEGEND_LIMIT
    total = positive(steps["gradient_norm"])
    axis.plot(steps["step"], total, color="#aaaaaa", linewidth=3, label="all layers")
    for index, name in enumerate(names):
        color = shade(index, len(names)) if many else COLORS[index]
        label = None if many else f"layer {name.removeprefix(_PREFIX)}"
        norms = positive(steps[name])
        axis.plot(steps["step"], norms, color=color, linewidth=1.1, alpha=0.85, label=label)
    bad = steps["step"][~np.isfinite(steps["gradient_norm"]) | ~np.isfinite(steps["loss"])]
    if len(bad):
        axis.axvline(bad[0], color=GREY, linestyle="--", label=f"not finite (step {bad[0]})")
    axis.set_yscale("log")
    if not np.isfinite(total).any():
        axis.set_ylim(1e-3, 1e3)
    axis.set_xlabel("step (one batch each)")
    axis.set_ylabel("gradient norm before clipping (L2)")
    axis.set_title("Gradient norms", loc="left", fontweight="bold")
    if many:
        _layer_bar(figure, axis, len(names))
        axis.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, frameon=False)
    else:
        axis.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=9)
    return write_figure(figure, path)


def rates(
    rates: np.ndarray,
    losses: np.ndarray,
    smooth: np.ndarray,
    suggestion: float | None,
    path: PathLike | None = None,
) -> Any:
    """The loss of each step of a test with a rising rate, and the suggested rate.

    Raises: ConfigError as in `curves`.
    """
    figure, axis = new_figure(8, 4.5)
    axis.plot(rates, finite(losses), color=COLORS[5], linewidth=0.8, alpha=0.7, label="each step")
    axis.plot(rates, finite(smooth), color=COLORS[0], linewidth=2, label="mean with its neighbours")
    if suggestion is not None:
        label = f"suggested: {suggestion:.2g}"
        axis.axvline(suggestion, color=COLORS[1], linestyle="--", linewidth=1.5, label=label)
    shown = smooth[np.isfinite(smooth)]
    low, high = (0.8 * shown.min(), 1.5 * np.median(shown[:10])) if len(shown) else (0.0, 0.0)
    if max(0.0, low) < high:
        axis.set_ylim(max(0.0, low), high)
    axis.set_xscale("log")
    axis.set_xlabel("learning rate")
    axis.set_ylabel("loss (nats)")
    axis.set_title("Loss while the learning rate rises", loc="left", fontweight="bold")
    axis.legend(frameon=False, fontsize=9)
    return write_figure(figure, path)


def _check_recorded(call: str, steps: Mapping[str, np.ndarray]) -> None:
    if not len(steps["step"]):
        raise ConfigError(f"plot.{call}: the history holds no steps; train first")


def _epoch_ends(steps: Mapping[str, np.ndarray], count: int) -> np.ndarray:
    """The last step of each of the first `count` epochs."""
    epoch = steps["epoch"]
    return steps["step"][np.searchsorted(epoch, np.arange(1, count + 1), side="right") - 1]


def _loss_scale(axis: Any, loss: np.ndarray) -> None:
    """A log scale where the loss spans more than a factor of 100, else one that starts at 0."""
    finite = loss[np.isfinite(loss) & (loss > 0)]
    if len(finite) and finite.max() > 100 * np.median(finite):
        axis.set_yscale("log")
    else:
        axis.set_ylim(bottom=0)


def _layer_bar(figure: Any, axis: Any, count: int) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize
    from matplotlib.ticker import MaxNLocator

    colors = ListedColormap([shade(i, count) for i in range(count)])
    mappable = ScalarMappable(Normalize(0.5, count + 0.5), colors)
    ticks = MaxNLocator(integer=True, steps=[1, 2, 5, 10])
    bar = figure.colorbar(mappable, ax=axis, pad=0.02, ticks=ticks)
    bar.set_label("layer with parameters, from the input (1)")
