"""Every figure of a run, drawn from plain numbers. matplotlib is imported here and nowhere else."""

import io
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np

from .errors import ConfigError

PathLike = str | os.PathLike[str]
# Okabe and Ito (2008): told apart with any kind of colour vision.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442")
_GREY = "#666666"
_LEGEND_LIMIT = 7  # more layers than this get a colour scale instead of a legend
_PREFIX = "gradient_norm/"


class Columns(Protocol):
    """What is drawn: columns by name, as in `md.train.History`."""

    @property
    def steps(self) -> Mapping[str, np.ndarray]:
        """Columns with one value for each step."""

    @property
    def epochs(self) -> Mapping[str, np.ndarray]:
        """Columns with one value for each epoch."""


def new_figure(width: float, height: float, rows: int = 1, columns: int = 1, **kwargs: Any) -> Any:
    """(figure, axes), apart from pyplot: no window, no global state, any thread.

    Raises: ConfigError if matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ConfigError(
            "plot: figures need matplotlib, which is not installed: run "
            "`pip install 'minidl[demos]'`, or `pip install matplotlib`"
        ) from None

    class Shown(Figure):
        """A figure that a notebook shows, also where nothing has set up pyplot."""

        def _repr_png_(self) -> bytes:
            picture = io.BytesIO()
            self.savefig(picture, format="png")
            return picture.getvalue()

    figure = Shown(figsize=(width, height), layout="constrained", dpi=150)
    axes = figure.subplots(rows, columns, **kwargs)
    for one in np.atleast_1d(axes).flat:
        one.grid(True, color="#dddddd", linewidth=0.6)
        one.set_axisbelow(True)
        one.spines[["top", "right"]].set_visible(False)
    return figure, axes


def write_figure(figure: Any, path: PathLike | None) -> Any:
    """The figure, written to a file if there is a path. Raises: ConfigError where that fails."""
    try:
        if path is not None:
            figure.savefig(path)
    except (OSError, ValueError) as error:  # ValueError: an unknown ending
        raise ConfigError(f"plot: cannot write {str(path)!r}: {error}") from None
    return figure


@contextmanager
def pyplot_kept() -> Iterator[None]:
    """Context in which another library may draw with pyplot: its figures are closed afterwards, and
    the style of all other figures is put back.
    """
    from matplotlib import pyplot, rc_context

    before = set(pyplot.get_fignums())
    with rc_context():
        try:
            yield
        finally:
            for number in set(pyplot.get_fignums()) - before:
                pyplot.close(number)


def refusals(counts: Mapping[str, Sequence[int]], path: PathLike | None = None) -> Any:
    """Bars of how many trials were refused, trained all the same, and refused wrongly.

    counts: these three numbers for each reason. Raises: ConfigError as in `curves`.
    """
    if not counts:
        raise ConfigError("plot.refusals: no trial was refused")
    figure, axis = new_figure(8, 1.6 + 0.6 * len(counts))
    at = np.arange(len(counts))
    for i, name in enumerate(("refused", "trained all the same", "of these, wrong")):
        widths = [numbers[i] for numbers in counts.values()]
        bars = axis.barh(at + 0.27 * (i - 1), widths, 0.25, color=COLORS[i], label=name)
        axis.bar_label(bars, padding=3, fontsize=8)
    axis.set_yticks(at, list(counts))
    axis.invert_yaxis()
    axis.set_xlabel("trials")
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=3, frameon=False, fontsize=9)
    return write_figure(figure, path)


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
            steps["step"], _finite(steps[name]), color=COLORS[5], linewidth=0.8, alpha=0.55,
            label="training, each batch",
        )  # fmt: skip
        parts = {"training": (f"train_{name}", COLORS[0], "o")}
        parts["validation"] = (f"validation_{name}", COLORS[1], "s")
        for label, (column, color, marker) in parts.items():
            if column in epochs and len(ends):
                axis.plot(
                    ends, _finite(epochs[column]), color=color, marker=marker, markersize=4,
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
                    epochs["epoch"], _finite(values), style, color=color, marker="o" * solid,
                    markersize=3, linewidth=1.6 if solid else 1, label=name if solid else None,
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
    many = len(names) > _LEGEND_LIMIT
    total = _positive(steps["gradient_norm"])
    axis.plot(steps["step"], total, color="#aaaaaa", linewidth=3, label="all layers")
    for index, name in enumerate(names):
        color = _scale(index, len(names)) if many else COLORS[index]
        label = None if many else f"layer {name.removeprefix(_PREFIX)}"
        norms = _positive(steps[name])
        axis.plot(steps["step"], norms, color=color, linewidth=1.1, alpha=0.85, label=label)
    bad = steps["step"][~np.isfinite(steps["gradient_norm"]) | ~np.isfinite(steps["loss"])]
    if len(bad):
        axis.axvline(bad[0], color=_GREY, linestyle="--", label=f"not finite (step {bad[0]})")
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


def _finite(values: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(values), values, np.nan)


def _positive(values: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(values) & (values > 0), values, np.nan)


def _scale(index: int, count: int) -> Any:
    from matplotlib import colormaps

    return colormaps["viridis"](index / max(1, count - 1) * 0.92)  # its end is too pale on white


def _layer_bar(figure: Any, axis: Any, count: int) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize
    from matplotlib.ticker import MaxNLocator

    colors = ListedColormap([_scale(i, count) for i in range(count)])
    mappable = ScalarMappable(Normalize(0.5, count + 0.5), colors)
    ticks = MaxNLocator(integer=True, steps=[1, 2, 5, 10])
    bar = figure.colorbar(mappable, ax=axis, pad=0.02, ticks=ticks)
    bar.set_label("layer with parameters, from the input (1)")


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

    Where gradients were clipped, the share of the norm that this took away lies behind the ratios.
    lost: whether NaN or Inf was among the gradients; an arrow points at the first.
    Shapes: gradient, lost, ratio, clipped (layers, steps), measured and predicted (layers - 1,).
    Raises: ConfigError as in `curves`.
    """
    if not gradient.size:
        raise ConfigError("plot.monitor: the monitor saw no steps; train first")
    figure, (heat, growth, below) = new_figure(9, 9.5, 3)
    heat.grid(False)
    with np.errstate(invalid="ignore", divide="ignore"):
        image = heat.imshow(
            np.log10(_positive(gradient)), aspect="auto", cmap="viridis", origin="lower",
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
    growth.plot(at, predicted, "x--", color=_GREY, label="predicted, √(fan_in·E w²/2)")
    growth.plot(at, measured, "o-", color=COLORS[0], label="measured at the first step")
    growth.axhline(1, color="black", linewidth=0.6)
    growth.set_xticks(at, layers[1:], fontsize=8)
    growth.set_xlabel("layer")
    growth.set_ylabel("growth of the signal")
    growth.legend(frameon=False, fontsize=9)
    for index, (name, values) in enumerate(zip(layers, ratio, strict=True)):
        below.plot(_positive(values), color=_scale(index, len(layers)), linewidth=1.1, label=name)
    below.set_yscale("log")
    below.axhline(1, color="red", linestyle="--", linewidth=1, label="1: as large")
    below.axhline(1e-3, color=_GREY, linestyle=":", linewidth=1, label="0.001: usual")
    below.set_xlabel("step")
    below.set_ylabel("‖update‖ / ‖weight‖")
    share = np.nan_to_num(clipped).max(0)
    aside = 1.01
    if share.any():
        aside = 1.1  # past the axis
        right = below.twinx()
        right.fill_between(np.arange(len(share)), share, step="mid", color=_GREY, alpha=0.2)
        right.set_ylim(0, 1)
        right.set_ylabel("share clipped (grey)")
    if len(layers) <= _LEGEND_LIMIT:
        below.legend(loc="center left", bbox_to_anchor=(aside, 0.5), frameon=False, fontsize=8)
    return write_figure(figure, path)


def report(
    layers: list[dict[str, Any]], verdict: str, regime: str, path: PathLike | None = None
) -> Any:
    """The doctor's view: signal beside its prediction, gradient, and update ratio, by layer.

    Raises: ConfigError as in `curves`.
    """
    rows = [row for row in layers if row["weighted"]]
    if not rows:
        raise ConfigError("plot.report: the model has no Dense or convolution layer to draw")
    figure, (signal, gradient, update) = new_figure(8, 7.5, 3, sharex=True)
    at, names = np.arange(len(rows)), [row["layer"] for row in rows]

    def values(key: str) -> np.ndarray:
        return _positive(
            np.array([np.nan if r[key] is None else r[key] for r in rows], dtype=float)
        )

    signal.plot(at, values("signal"), "o-", color=COLORS[0], label="measured")
    signal.plot(at, values("predicted"), "--", color=_GREY, label="predicted")
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


def confusion(counts: np.ndarray, classes: Sequence[str], path: PathLike | None = None) -> Any:
    """How often each class (rows) was called what (columns), as shares of the row.

    Up to 20 classes the counts are written into the cells. Raises: ConfigError as in `curves`.
    """
    k = len(classes)
    side = min(max(3.5, 1.8 + 0.5 * k), 14)
    figure, axis = new_figure(side + 1, side)
    total = counts.sum(1, keepdims=True)
    share = np.divide(counts, total, out=np.zeros(counts.shape), where=total > 0)
    picture = axis.imshow(share, cmap="Blues", vmin=0, vmax=1)
    axis.grid(False)
    if k <= 20:
        for i, j in np.argwhere(counts):
            color = "white" if share[i, j] > 0.5 else "black"
            axis.text(j, i, f"{counts[i, j]:,}", ha="center", va="center", color=color, fontsize=8)
    if k <= 60:
        axis.set_xticks(range(k), classes, rotation=90, fontsize=8)
        axis.set_yticks(range(k), classes, fontsize=8)
    axis.set_xlabel("what the model called it")
    axis.set_ylabel("what it is")
    axis.set_aspect("auto")
    figure.colorbar(picture, ax=axis, label="share of the row")
    return write_figure(figure, path)


def gallery(
    images: np.ndarray, titles: Sequence[str], about: str, path: PathLike | None = None
) -> Any:
    """Images (N, C, H, W) in [0, 1], gray or RGB, five in a row, each below its title.

    Raises: ConfigError as in `curves`.
    """
    columns = 5
    rows = max(-(-len(images) // columns), 1)
    figure, axes = new_figure(8, 1.9 * rows + 0.4, rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, image, title in zip(axes.flat, images, titles, strict=False):
        seen = np.clip(image.transpose(1, 2, 0), 0, 1)
        gray = seen.shape[2] != 3
        axis.imshow(seen[..., 0] if gray else seen, cmap="gray" if gray else None, vmin=0, vmax=1)
        axis.set_title(title, fontsize=8)
    figure.suptitle(about, fontsize=10)
    return write_figure(figure, path)
