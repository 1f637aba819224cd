"""The report of a search: a page, and the figures on it, most of them Optuna's own."""

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.visualization import matplotlib as draw

from .. import plot
from ..errors import ConfigError
from ..files import write_text
from .settings import Settings
from .summary import LEARNED, Row, Summary
from .table import options
from .trial import FINISHED

if TYPE_CHECKING:
    from .api import Search

TARGET = "validation accuracy"
MOST = 8  # options that are drawn side by side, the most important ones
ROW = 4  # of them in one figure of slices
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem }
img { max-width: 100% } table { border-collapse: collapse; font-size: 0.85rem; width: 100% }
td, th { text-align: left; padding: 0.15rem 0.6rem 0.15rem 0; border-bottom: 1px solid #ddd;
vertical-align: top } code { font-size: 0.9em } .best { background: #e6f4ea }
"""


def write_report(search: "Search") -> Path:
    """Write report.html into the folder of the search, and the figures into figures/.

    A figure that cannot be drawn is left out, and the page says why.
    """
    page = search.out / "report.html"
    folder = search.out / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    summary = search.summary
    parts = [
        _head(search, summary),
        *_drawn(folder, search.study, summary),
        _refusals(folder, summary),
        _trials(summary),
    ]
    title = escape(f"Search {search.out.name}")
    text = (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style>\n<h1>{title}</h1>\n" + "\n".join(parts) + "\n</html>\n"
    )
    write_text(page, text)
    return page


def _head(search: "Search", summary: Summary) -> str:
    settings = search.settings
    counts = ", ".join(f"{count} {name}" for name, count in summary.counts.items())
    seconds, doctor = summary.seconds(), summary.seconds("doctor_seconds")
    rows = [
        ("data", settings.base.data),
        ("asked for", _asked(settings)),
        ("trials", f"{len(summary.rows)} of {summary.trials}: {counts}"),
        ("epochs trained", f"{summary.epochs():.0f}, and {summary.epochs(True):.0f} in audits"),
        ("processor time", f"{seconds:.0f} s, of which the doctor {doctor:.1f} s"),
    ]
    best = summary.best
    if best is None:
        rows.append(("best", "none: no trial was trained to its end"))
    else:
        rows.append(("best", f"trial {best.number}: {TARGET} {best.accuracy:.4f}"))
        rows.append(("its options", options(best)))
    if (again := search.retrained) is not None:
        rows.append(
            (
                f"trained again with seeds {', '.join(map(str, again.seeds))}",
                f"validation {again.spread('validation')}; test {again.spread()}",
            )
        )
        if again.shared:
            rows.append(
                (
                    "beware",
                    "the data has one held-out part. The settings were chosen by the same images "
                    "that measure them, so the accuracy of new images will be somewhat lower.",
                )
            )
    cells = "".join(f"<tr><th>{escape(a)}</th><td>{escape(str(b))}</td></tr>" for a, b in rows)
    return (
        f"<table>{cells}</table>\n<p><code>minidl train --config {escape(str(search.out))}"
        "/best.toml</code> trains the best settings. Each trial is a run folder in "
        f"<code>{escape(str(search.out))}/trials</code>, for <code>minidl compare</code>, "
        "<code>evaluate</code> and <code>predict</code>.</p>"
    )


def _asked(settings: Settings) -> str:
    return (
        f"{settings.trials} trials, sampler {settings.sampler}, pruner {settings.pruner}, doctor "
        f"{settings.doctor}, {settings.base.epochs} epochs, seed {settings.base.seed}"
    )


def _drawn(folder: Path, study: optuna.Study, summary: Summary) -> list[str]:
    if summary.counts.get(FINISHED, 0) < 2:
        return ["<p>Optuna's figures are drawn when two trials have been trained to their end.</p>"]
    return [_figure(folder, *one) for one in _figures(study)]


def _figures(study: optuna.Study) -> list[tuple[str, str, str, Callable[[], Any]]]:
    """Of each figure: (name of its file, heading, sentence about it, function that plots it)."""
    names = _important(study)
    figures: list[tuple[str, str, str, Callable[[], Any]]] = [
        (
            "history", "History", "Each trial that was trained to its end, and the best so far.",
            lambda: draw.plot_optimization_history(study, target_name=TARGET),
        ),
        (
            "epochs", "Trials by epoch", "A line that ends early was pruned, or diverged.",
            lambda: draw.plot_intermediate_values(study),
        ),
        (
            "importance", "Importance",
            "The share of the accuracy's variance, over the space and by fANOVA's forest, that "
            "follows from each option. With few trials it is a guess.",
            lambda: draw.plot_param_importances(
                study, evaluator=FanovaImportanceEvaluator(seed=0), target_name=TARGET
            ),
        ),
        (
            "parallel", "Parallel coordinates", "Each line is a trial, darker for the better.",
            lambda: _wide(draw.plot_parallel_coordinate(study, names, target_name=TARGET)),
        ),
    ]  # fmt: skip
    slices = [names[at : at + ROW] for at in range(0, len(names), ROW)]
    about = "Accuracy by one option at a time, later trials darker."
    for i, some in enumerate(slices):
        name, heading = f"slices-{i + 1}", "Slices" if i == 0 else ""
        figures.append((name, heading, about * (i == 0), partial(_slices, study, some)))
    return figures


def _slices(study: optuna.Study, names: list[str]) -> Any:
    """Optuna's slices, with the names of choices turned, which overlap otherwise."""
    axes: Any = draw.plot_slice(study, names, target_name=TARGET)
    for axis in np.atleast_1d(axes).flat:
        axis.tick_params(axis="x", which="both", rotation=30, labelsize=7)
    width, height = axis.figure.get_size_inches()
    axis.figure.set_size_inches(1.2 * width, height)
    return axes


def _important(study: optuna.Study) -> list[str]:
    """The most important options; where importance cannot be judged, the first by their names."""
    ended = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    names = sorted({name for trial in ended for name in trial.params})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0))
        except (ValueError, RuntimeError, ImportError):  # too few trials; scikit-learn is missing
            return names[:MOST]
    return list(found)[:MOST]


def _wide(axis: Any) -> Any:
    """Parallel coordinates with room for the labels of each option, which overlap otherwise."""
    figure = axis.figure
    across = len(axis.get_xticks())
    figure.set_size_inches(2.0 + 1.7 * across, 5.5)
    for one in figure.axes:
        one.tick_params(axis="y", labelsize=8)
        for text in one.get_yticklabels():
            text.set_bbox({"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.6})
    axis.tick_params(axis="x", rotation=20)
    return axis


def _figure(folder: Path, name: str, heading: str, about: str, make: Callable[[], Any]) -> str:
    title = f"<h2>{heading}</h2>\n" if heading else ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna's: these plots are experimental
        try:
            with plot.pyplot_kept():
                axis = np.atleast_1d(make()).flat[0]
                axis.figure.savefig(folder / f"{name}.png", bbox_inches="tight", dpi=100)
        except Exception as error:  # the search is whole, whatever ails a figure
            return f"{title}<p>Not drawn: {escape(str(error) or type(error).__name__)}</p>"
    return f'{title}<p>{about}</p>\n<img src="figures/{name}.png" alt="{heading or name}">'


def _refusals(folder: Path, summary: Summary) -> str:
    refused = summary.refused
    if not refused:
        return "<h2>What the doctor refused</h2>\n<p>Nothing.</p>"
    kinds: dict[str, list[Row]] = {}
    for row in refused:
        kinds.setdefault(f"{row.verdict}: {row.code}", []).append(row)
    wrong = {row.number for row in summary.wrong}
    counts = {
        kind: (len(rows), sum(r.audited for r in rows), sum(r.number in wrong for r in rows))
        for kind, rows in kinds.items()
    }
    try:
        plot.refusals(counts, folder / "refusals.png")
        image = '<img src="figures/refusals.png" alt="What the doctor refused">'
    except (ConfigError, ImportError) as error:
        image = f"<p>Not drawn: {escape(str(error))}</p>"
    rows = [
        (str(row.number), f"{row.verdict}: {row.reason}", _audit(row, row.number in wrong),
         options(row))
        for row in refused
    ]  # fmt: skip
    audited = len(summary.audited)
    said = f"{audited} of them were trained all the same: {len(wrong)} came to {LEARNED} of the "
    said += "best accuracy, so that refusing them was wrong." if audited else "best accuracy."
    if not audited:
        said = "None of them was trained, so nothing is known of how many were refused wrongly."
    return (
        f"<h2>What the doctor refused</h2>\n<p>{len(refused)} of {len(summary.rows)} trials before "
        f"their first step. {said}</p>\n{image}\n"
        + _table(("trial", "why", "audit", "options"), rows)
    )


def _audit(row: Row, wrong: bool) -> str:
    if not row.audited:
        return ""
    return "diverged" if row.audit is None else f"{row.audit:.4f}{' (wrong)' if wrong else ''}"


def _trials(summary: Summary) -> str:
    best = summary.best
    rows = [
        (
            str(row.number), row.outcome, "" if row.accuracy is None else f"{row.accuracy:.4f}",
            f"{row.epochs:.0f}", f"{row.seconds.get('seconds', 0.0):.1f}",
            options(row) + (f" — {row.reason}" if row.outcome in ("diverged", "failed") else ""),
        )
        for row in summary.rows
    ]  # fmt: skip
    marked = None if best is None else best.number
    head = ("trial", "outcome", "accuracy", "epochs", "seconds", "options")
    return "<h2>All trials</h2>\n" + _table(head, rows, marked)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], marked: int | None = None) -> str:
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    lines = []
    for row in rows:
        style = ' class="best"' if row[0] == str(marked) else ""
        lines.append(f"<tr{style}>" + "".join(f"<td>{escape(c)}</td>" for c in row) + "</tr>")
    return f"<table><tr>{top}</tr>\n" + "\n".join(lines) + "</table>"
