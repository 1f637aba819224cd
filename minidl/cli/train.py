"""`minidl train`."""

import itertools
import os
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from ..errors import ConfigError
from ..runs import NAMED, Config, train
from ..runs.next_steps import next_steps
from ..runs.run import read_config
from ..train.session import BEST
from ..train.team import team
from .group import cli, table, tell
from .options import InSections, config_from, run_options


@cli.command("train", cls=InSections)
@run_options
@click.option(
    "--config",
    "recipe",
    type=click.Path(),
    help="A TOML file of options, or the config.json of a run; options given here override it.",
)
@click.option("--out", type=click.Path(), help="Folder of the run [runs/DATA-MODEL].")
@click.option("--resume", is_flag=True, help="Go on with the run in --out.")
@click.option("--quiet", is_flag=True, help="Show no progress.")
@click.pass_context
def train_command(
    ctx: click.Context,
    recipe: str | None,
    out: str | None,
    resume: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Train a model; the folder of the run holds weights, checkpoints, history and figures.

    With --resume, options that are not given are those that the run was started with.
    """
    if resume and out is None:
        raise ConfigError("--resume needs --out, the folder of the run to go on with")
    given = {name for name in options
             if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE}  # fmt: skip
    if recipe is not None and resume:
        raise ConfigError("--config: expected only for a new run; --resume has the run's own")
    if recipe is not None:
        before = _beside(given, Config.options_of_file(recipe))
        options = {n: v if n in given else before.get(n, v) for n, v in options.items()}
    if options["data"] and Path(options["data"]).is_dir() and options["data"] not in NAMED:
        options["data"] = os.path.abspath(options["data"])
    if options["root"]:
        options["root"] = os.path.abspath(options["root"])
    if resume and (of_run := team().first(lambda: _options_of(str(out)))):
        of_run = _beside(given, of_run)
        options = {n: v if n in given | {"device"} else of_run[n] for n, v in options.items()}
    config = config_from(options)
    folder = team().first(lambda: _claimed_folder(config)) if out is None else Path(out)
    result = train(config, folder, resume=resume, progress=not quiet, say=tell)
    last, speed = result.history.last, result.steps / max(result.seconds, 1e-9)
    rows = [
        ("test accuracy", f"{result.test['accuracy']:.2%}"),
        ("test loss", f"{result.test['loss']:z.4f}"),
        ("training accuracy", f"{last['train_accuracy']:.2%} (mean of the last epoch)"),
        ("time", f"{result.seconds:.1f} s"),
        ("steps", f"{result.steps:,} ({speed:,.0f} a second)"),
    ]
    if (folder / BEST).exists():
        rows.insert(0, ("best epoch", f"{result.history.best_epoch}, by the validation loss"))
    files = ["config.json", "model.safetensors", BEST, "checkpoint", "history.csv"]
    files = [name for name in files if (folder / name).exists()] + result.figures
    rows += [("written to" if i == 0 else "", str(folder / f)) for i, f in enumerate(files)]
    tell("\n" + table(rows))
    classes = len(team().first(lambda: read_config(folder))[1]["classes"])
    if advice := next_steps(config, result.history, result.test, classes):
        tell("\nWhat to try next:\n" + "\n".join(f"- {line}" for line in advice))


def _beside(given: set[str], before: dict[str, Any]) -> dict[str, Any]:
    """Earlier options, without a way of reading a folder that one given now takes the place of."""
    instead: dict[str, dict[str, Any]] = {"cache": {"lazy": None}, "lazy": {"cache": False}}
    return before | {n: v for name in given & instead.keys() for n, v in instead[name].items()}


def _options_of(folder: str) -> dict[str, Any] | None:
    """The options of the run in a folder; None where there is none yet."""
    if not (Path(folder) / "config.json").exists():
        return None
    return read_config(folder)[0].to_dict()


def _claimed_folder(config: Config) -> Path:
    """A new folder runs/DATA-MODEL, runs/DATA-MODEL-2, ...; two processes never get the same."""
    name = f"{Path(config.data).name or 'data'}-{config.model}"
    Path("runs").mkdir(exist_ok=True)
    for number in itertools.count(1):
        folder = Path("runs") / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir()
            return folder
        except FileExistsError:
            continue
    raise AssertionError("numbers do not end")
