"""Figures of a search for settings, and a context in which another library may draw its own."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..errors import ConfigError
from .figures import COLORS, PathLike, new_figure, write_figure


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
