"""`minidl search`."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from ..runs import NAMED
from ..train.interrupt import Stopped
from .group import cli, table, tell
from .options import InSections, run_options

if TYPE_CHECKING:
    from ..search import Search


@cli.command("search", cls=InSections)
@run_options
@click.option("--out", type=click.Path(), help="Folder of the search [searches/DATA].")
@click.option("--space", type=click.Path(), help="A TOML file that narrows or widens the space.")
@click.option("--trials", default=40, show_default=True, help="Trials, refused ones included.")
@click.option(
    "--time",
    "seconds",
    type=float,
    metavar="SECONDS",
    help="Stop after so many seconds; then the best settings are trained again.",
)
@click.option("--workers", default=1, show_default=True, help="Processes that share the work.")
@click.option(
    "--sampler",
    default="tpe",
    show_default=True,
    metavar="tpe|random|cma-es",
    help="The method that proposes the next settings.",
)
@click.option(
    "--pruner",
    default="median",
    show_default=True,
    metavar="median|hyperband|none",
    help="The method that ends bad trials early.",
)
@click.option(
    "--doctor",
    default="both",
    show_default=True,
    metavar="off|diverge|both",
    help="Trials refused before their first step: none, those that will diverge, or also "
    "those that will not learn.",
)
@click.option(
    "--audit",
    default=0.1,
    show_default=True,
    metavar="SHARE",
    help="Share of the refused trials that is trained all the same, to count wrong refusals.",
)
@click.option(
    "--best-seeds", default=3, show_default=True, help="New seeds to train the best settings with."
)
@click.option("--storage", metavar="URL", help="A database that several machines share.")
@click.option("--name", help="Name of the study in the database [that of the folder].")
@click.option("--quiet", is_flag=True, help="Show no progress.")
@click.pass_context
def search_command(
    ctx: click.Context,
    out: str | None,
    space: str | None,
    seconds: float | None,
    workers: int,
    storage: str | None,
    name: str | None,
    quiet: bool,
    **options: Any,
) -> None:
    """Search for the settings with which a network learns best.

    Takes the options of `minidl train`: those that are given are fixed, the others are drawn from
    the default space or that of --space. The same command again goes on with the search in --out,
    and several such commands at the same time share its work; then --out alone is enough.
    """
    from ..search import go_on, open_search  # here: the other commands work without Optuna

    given = {n: v for n, v in options.items()
             if ctx.get_parameter_source(n) is ParameterSource.COMMANDLINE}  # fmt: skip
    if given.get("data") and Path(given["data"]).is_dir() and given["data"] not in NAMED:
        given["data"] = os.path.abspath(given["data"])
    if given.get("root"):
        given["root"] = os.path.abspath(given["root"])
    place = Path("searches") / Path(options["data"]).name if out is None else Path(out)
    if space is not None:
        given["space"] = space
    found = open_search(place, given, storage=storage, name=name)
    tell(f"search: {place}  options: {', '.join(shown(n) for n in found.settings.space.drawn)}")
    try:
        go_on(
            found, workers=workers, seconds=seconds, storage=storage, name=name,
            progress=not quiet, say=tell,
        )  # fmt: skip
    except KeyboardInterrupt as stop:
        number = getattr(stop, "number", 2)
        again = f"minidl search --out {place}" + (f" --storage {storage}" if storage else "")
        raise Stopped(f"stopped; go on with {again}", number) from None
    tell("\n" + table(_rows(found)))


def _rows(found: "Search") -> list[tuple[str, str]]:
    """The results of the search, as rows of a table."""
    summary = found.summary
    counts = ", ".join(f"{count} {name}" for name, count in summary.counts.items())
    rows = [("trials", f"{len(summary.rows)} of {summary.trials} ({counts})")]
    if found.stopped:
        rows.append(("", "the time is over; the same command goes on"))
    audited, wrong = len(summary.audited), len(summary.wrong)
    if audited:
        rows.append(("audit", f"{wrong} of {audited} refused trials would have learned as well"))
    seconds, doctor = summary.seconds(), summary.seconds("doctor_seconds")
    rows.append(("processor", f"{seconds:.1f} s, of which the doctor {doctor:.2f} s"))
    best = summary.best
    if best is None:
        rows.append(("best", "none: no trial was trained to its end"))
        return rows
    rows += [("best", f"trial {best.number}: validation accuracy {best.accuracy:.4f}")]
    rows += [("", f"{found.best_run}")]
    if found.retrained is not None:
        again = found.retrained
        rows.append(("again", f"validation {again.spread('validation')}"))
        rows.append(("", f"test {again.spread()}"))
    page = found.report()
    rows += [("written to", str(found.out / "best.toml")), ("", str(page))]
    return rows


def shown(name: str) -> str:
    """An option as on the command line."""
    return name.replace("_", "-")
