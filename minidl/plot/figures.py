"""Making an empty figure, writing a figure to a file, and the colours."""

import io
import os
from typing import Any

import numpy as np

from ..errors import ConfigError

PathLike = str | os.PathLike[str]
# Okabe and Ito (2008): told apart with any kind of colour vision.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442")
GREY = "#666666"


def new_figure(width: float, height: float, rows: int = 1, columns: int = 1, **kwargs: Any) -> Any:
    """(figure, axes) made without pyplot: no window, no global state, in any thread.

    width, height: in inches. rows, columns: of axes, as matplotlib's `subplots` returns them.
    kwargs: for `subplots`. Raises: ConfigError if matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ConfigError(
            "plot: figures need matplotlib, which is not installed: run "
            "`pip install 'minidl[demos]'`, or `pip install matplotlib`"
        ) from None

    class Shown(Figure):
        """A figure that a notebook shows, even where pyplot was never imported."""

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
    """The figure, written to a file if there is a path; as a PNG where that has no ending.

    Raises: ConfigError where that fails.
    """
    try:
        if path is not None:
            # With a format given matplotlib adds no ending to the name.
            figure.savefig(path, format=os.path.splitext(path)[1][1:].lower() or "png")
    except (OSError, ValueError) as error:  # ValueError: an unknown ending
        raise ConfigError(f"plot: cannot write {str(path)!r}: {error}") from None
    return figure


def finite(values: np.ndarray) -> np.ndarray:
    """The values, with NaN, a gap in a line, in place of infinite ones."""
    return np.where(np.isfinite(values), values, np.nan)


def positive(values: np.ndarray) -> np.ndarray:
    """The values, with NaN in place of those that a log scale cannot show."""
    return np.where(np.isfinite(values) & (values > 0), values, np.nan)


def literal(name: object) -> str:
    """A name as it stands: "$" begins no formula, and bytes that are no UTF-8 become "?"."""
    return str(name).encode("utf-8", "replace").decode().replace("$", r"\$")


def limit(values: np.ndarray) -> float:
    """The largest finite size among values, the end of a scale around 0; 1 where there is none."""
    sizes = np.abs(values[np.isfinite(values)])
    return float(sizes.max(initial=0.0)) or 1.0


def shade(index: int, count: int) -> Any:
    """The colour of one of many lines, from the input to the output."""
    from matplotlib import colormaps

    return colormaps["viridis"](index / max(1, count - 1) * 0.92)  # its end is too pale on white
