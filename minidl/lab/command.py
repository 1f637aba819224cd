"""The command `minidl lab`."""

from typing import Any

import click

from ..errors import ConfigError
from .registry import find
from .runner import run_experiments


@click.command("lab")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--all", "everything", is_flag=True, help="Run every experiment.")
@click.option("--quick", is_flag=True, help="A reduced form of each, in seconds.")
@click.option("--seed", default=0, show_default=True, help="Decides every random number.")
@click.option("--out", default="runs/lab", show_default=True, help="Folder for what was found.")
@click.pass_context
def lab_command(
    ctx: click.Context, names: tuple[str, ...], everything: bool, **options: Any
) -> None:
    """Measure theory and the article's claims; without NAME, list the experiments.

    NAME is an experiment's name or number: `minidl lab he-gain C2`. Ends with 1 where a
    prediction fails.
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
