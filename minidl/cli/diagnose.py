"""Diagnosis before training, and the lab's experiments: `minidl doctor`, `lr-find`, `lab`."""

from pathlib import Path
from typing import Any

import click

from ..checks import check
from ..errors import ConfigError
from ..files import writable_folder
from ..health import Report
from ..lab import find
from ..lab.runner import run_experiments
from ..runs import Config
from ..runs.advice import find_rate, try_remedies, with_safe_rate
from ..runs.config import AUTO
from ..runs.data import load_data
from ..runs.examine import examine
from .group import cli, table
from .options import InSections, config_from, run_options


@cli.command("doctor", cls=InSections)
@run_options
@click.option("--trial-steps", default=0, show_default=True, help="Steps to try and undo.")
@click.option("--all-remedies", is_flag=True, help="Judge the run with each remedy alone.")
@click.option("--out", type=click.Path(), help="Folder for doctor.json and doctor.png.")
def doctor_command(trial_steps: int, all_remedies: bool, out: str | None, **options: Any) -> None:
    """Say before training whether a run with these options would explode, vanish or stall.

    Takes the options of `minidl train`, and looks at the first batch of its training images. With
    --all-remedies each remedy for exploding gradients is tried on a fresh copy, with five trial
    steps unless --trial-steps says another number, and the table is all that comes out.
    """
    config = config_from(options)
    check("doctor", "an int >= 0", trial_steps=trial_steps)
    if all_remedies and out is not None:
        raise ConfigError("--out: expected for one report, not with --all-remedies")
    if all_remedies:
        click.echo(table(_remedies(config, trial_steps or 5)))
        return
    folder = None if out is None else writable_folder("--out", out)
    data = load_data(config, None, True).train
    config = with_safe_rate(config, data) if config.lr == AUTO else config
    report = examine(config, data, trial_steps=trial_steps)
    click.echo(report.table("command line", given=config.given))
    if folder is not None:
        report.to_json(folder / "doctor.json")
        report.plot(folder / "doctor.png")
        click.echo(f"written to {folder / 'doctor.json'} and {folder / 'doctor.png'}")


def _remedies(config: Config, trial_steps: int) -> list[tuple[str, ...]]:
    """A row for each remedy: its options, and the doctor's verdict with it."""
    loaded: dict[bool, Any] = {}

    def load(changed: Config) -> Any:
        if changed.standardizes not in loaded:
            loaded[changed.standardizes] = load_data(changed, None, True).train
        return loaded[changed.standardizes]

    rows: list[tuple[str, ...]] = [("remedy", "options", "verdict", "regime", "first loss")]
    for name, changed, found in try_remedies(config, load, trial_steps):
        given = " ".join(
            f"--{n.replace('_', '-')}" + ("" if v is True else f" {v:.3g}" if isinstance(v, float)
            else f" {v}") for n, v in changed.items()
        )  # fmt: skip
        if isinstance(found, Report):
            said = (found.verdict, found.regime, f"{found.numbers['loss']:.3g}")
        else:
            said = ("not possible", str(found).splitlines()[0].partition(";")[0], "-")
        rows.append((name, given or "-", *said))
    return rows


@cli.command("lr-find", cls=InSections)
@run_options
@click.option("--steps", default=100, show_default=True, help="Steps, each with a larger rate.")
@click.option("--lowest", default=1e-6, show_default=True, help="The rate of the first step.")
@click.option("--highest", default=10.0, show_default=True, help="The rate of the last step.")
@click.option("--out", default="lr-find.png", show_default=True, help="File for the figure.")
def lr_find_command(steps: int, lowest: float, highest: float, out: str, **options: Any) -> None:
    """Train a few steps with a rising rate, draw the loss, and suggest a learning rate.

    Takes the options of `minidl train`. The trained weights are thrown away.
    """
    config = config_from(options)
    writable_folder("--out", Path(out).parent)
    data = load_data(config, None, True).train
    found = find_rate(config, data, steps=steps, lowest=lowest, highest=highest)
    found.plot(out)
    ended = "" if len(found.rates) == steps else f", ended at {found.rates[-1]:.2g} by the loss"
    click.echo(f"{len(found.rates)} steps with rates from {lowest:g} to {highest:g}{ended}")
    if found.suggestion is None:
        click.echo("no rate made the loss fall; `minidl doctor` with the same options says why")
    else:
        click.echo(f"suggested: --lr {config.given(found.suggestion):.2g}")
    click.echo(f"written to {out}")


@cli.command("lab")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--all", "everything", is_flag=True, help="Run every experiment.")
@click.option("--quick", is_flag=True, help="A reduced form of each, in seconds.")
@click.option("--seed", default=0, show_default=True, help="Decides every random number.")
@click.option("--out", default="runs/lab", show_default=True, help="Folder for the results.")
@click.pass_context
def lab_command(
    ctx: click.Context, names: tuple[str, ...], everything: bool, **options: Any
) -> None:
    """Measure theory and the article's claims; without NAME, list the experiments.

    NAME is an experiment's name or number: `minidl lab he-gain C2`. Results of other experiments in
    the folder stay. The exit code is 1 where a prediction fails.
    """
    if names and everything:
        raise ConfigError(f"lab: expected names or --all, got both ({', '.join(names)})")
    if not names and not everything:
        if options["quick"]:
            raise ConfigError("lab: expected names, or --all, with --quick")
        widest = max(len(e.name) for e in find())
        for e in find():
            click.echo(f"{e.number:>3}  {e.name:<{widest}}  {e.title}")
        return
    if options["quick"]:
        click.echo("quick: fewer seeds and smaller networks, so verdicts may differ from the pages")
    entries = run_experiments(names, say=click.echo, **options)
    click.echo(f"written to {options['out']}: lab.json, lab.md and the figures")
    if any(entry["verdict"] == "fails" for entry in entries):
        ctx.exit(1)
