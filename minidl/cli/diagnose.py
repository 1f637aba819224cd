"""What is wrong, and what theory says: `minidl doctor`, `minidl lab`."""

from pathlib import Path
from typing import Any

import click

from ..errors import ConfigError
from ..lab import find
from ..lab.runner import run_experiments
from ..runs import Config
from ..runs.data import load_data
from ..runs.examine import examine
from .group import cli
from .options import InSections, run_options


@cli.command("doctor", cls=InSections)
@run_options
@click.option("--trial-steps", default=0, show_default=True, help="Steps to try and undo.")
@click.option("--out", type=click.Path(), help="Folder for doctor.json and doctor.png.")
def doctor_command(trial_steps: int, out: str | None, **options: Any) -> None:
    """Say before training whether a run with these options would explode, vanish or stall.

    Takes the options of `minidl train`, and looks at the first batch of its training images.
    """
    config = Config(**options)
    config.check()
    report = examine(config, load_data(config, None, True).train, trial_steps=trial_steps)
    click.echo(report.table())
    if out is not None:
        Path(out).mkdir(parents=True, exist_ok=True)
        report.to_json(Path(out) / "doctor.json")
        report.plot(Path(out) / "doctor.png")
        click.echo(f"written to {Path(out) / 'doctor.json'} and {Path(out) / 'doctor.png'}")


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

    NAME is an experiment's name or number: `minidl lab he-gain C2`. Results that the folder holds
    already stay. Ends with 1 where a prediction fails.
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
