"""The command line: `minidl` or `python -m minidl`."""

import errno
import itertools
import json
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

try:
    import click
    from click.core import ParameterSource
except ImportError:
    sys.stderr.write(
        "error: the minidl command needs click: run `pip install 'minidl[demos]'`, or in a "
        "checkout of the project `pip install -e '.[demos]'`\n"
    )
    raise SystemExit(2) from None

from . import __version__
from .checks import check
from .data import DataLoader
from .data.download import cache_folder
from .data.parts import walk
from .errors import ConfigError, DataError, MinidlError
from .export import export_onnx
from .files import kind_of
from .health import doctor
from .lab import find
from .lab.runner import run_experiments
from .runs import NAMED, Config, Run, compare, train
from .runs.config import AUGMENTATIONS, MODELS, OPTIMIZERS, SCHEDULES
from .runs.data import load_data
from .runs.run import read_config
from .train.interrupt import Stopped

_DEFAULT = Config()


_SECTIONS = {
    "Data": ("data", "root", "validation", "size", "gray", "skip_bad", "standardize", "augment"),
    "Model": ("model", "depth", "width", "init"),
    "Descent": (
        *("optimizer", "lr", "schedule", "warmup", "momentum", "epochs", "batch_size", "seed"),
        "device",
    ),
    "Remedies for exploding and vanishing gradients, and for learning by heart": (
        *("clip_norm", "clip_value", "clip_adaptive", "batch_norm", "residual", "weight_norm"),
        *("weight_decay", "label_smoothing"),
    ),
}


class InSections(click.Command):
    """A command whose help lists its options in sections."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        records = {p.name: p.get_help_record(ctx) for p in self.get_params(ctx)}
        for title, names in _SECTIONS.items():
            found = [record for name in names if (record := records.pop(name, None))]
            if found:
                with formatter.section(title):
                    formatter.write_dl(found)
        with formatter.section("The run"):
            formatter.write_dl([record for record in records.values() if record])


class Group(click.Group):
    """Commands whose errors are one message and exit code 2, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except MinidlError as error:
            text = str(error)
        except MemoryError as error:
            text = (
                f"the memory does not suffice ({error or 'no more is known'}); give a smaller "
                "--batch-size, --size or model"
            )
        except OSError as error:
            if error.errno == errno.EPIPE:  # who read the output has left
                raise
            place = "" if error.filename is None else f"{str(error.filename)!r}: "
            text = f"{place}{error.strerror or error}"
        except KeyboardInterrupt as stop:
            tell(str(stop) or "stopped", err=True)
            ctx.exit(128 + getattr(stop, "number", signal.SIGINT))
        tell(f"error: {text}", err=True)
        ctx.exit(2)


def tell(text: str, err: bool = False) -> None:
    """Print; where the terminal is gone or its disk full, the command goes on in silence."""
    try:
        click.echo(text, err=err)
    except (OSError, ValueError):  # ValueError: the stream is closed
        _silence(sys.stderr if err else sys.stdout)


def _silence(stream: Any) -> None:
    """Point a broken stream at nothing: Python would fail again when it flushes it at the end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, stream.fileno())
    except (OSError, ValueError):  # it is no file
        pass
    finally:
        os.close(nowhere)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="minidl")
def cli() -> None:
    """Train image classifiers, and see, explain and cure exploding gradients."""


def main() -> None:
    """The entry point of the `minidl` command."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # None where the process was started without it
            stream.reconfigure(errors="replace")  # no sign that a terminal lacks may stop a run
    warnings.showwarning = lambda message, *rest: tell(f"warning: {message}", err=True)
    if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:  # ignored signals stay ignored
        signal.signal(signal.SIGTERM, _terminated)
    try:
        cli(prog_name="minidl")
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                if stream is not None:
                    stream.flush()
            except (OSError, ValueError):
                _silence(stream)


def _terminated(number: int, frame: Any) -> None:
    raise Stopped("stopped", number)


def table(rows: Sequence[Sequence[str]]) -> str:
    """Text in columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _option(flag: str, about: str, **details: Any) -> Callable[..., Any]:
    default = getattr(_DEFAULT, flag.partition("/")[0].strip("-").replace("-", "_"))
    shown = default is not None and not isinstance(default, bool)
    return click.option(flag, default=default, show_default=shown, help=about, **details)


def run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that a Config holds, each under the name of its field."""
    rates = ", ".join(
        f"{name} {calm:g} or {other:g}" for name, (_, calm, other) in OPTIMIZERS.items()
    )
    options = [
        _option("--data", f"{', '.join(NAMED)}, or a folder of class folders (or with train/ and "
                "test/)."),
        _option("--root", "The folder of the named data; else downloaded once.", type=click.Path()),
        _option("--validation", "Share of the training images to hold out [0.2 without a test "
                "part].", type=float, metavar="FRACTION"),
        _option("--size", "Stretch a folder's images to this square size.", type=int),
        _option("--gray", "Read a folder's images in grey.", is_flag=True),
        _option("--skip-bad", "Leave out files that cannot be read.", is_flag=True),
        _option("--standardize/--no-standardize", "Mean 0, deviation 1 in each channel [for a "
                "folder: yes]."),
        _option("--augment", "Random shifts and mirroring.", type=click.Choice(AUGMENTATIONS)),
        _option("--model", "The network.", type=click.Choice(MODELS)),
        _option("--depth", "Convolutions of deep_plain_cnn.", type=int),
        _option("--width", "Channels of deep_plain_cnn.", type=int),
        _option("--init", "Initializer: he_normal, orthogonal, normal:0.3, ...", metavar="NAME"),
        _option("--optimizer", "What changes the weights [sgd for grey data sets and "
                "networks without normalisation, else adam].", type=click.Choice(list(OPTIMIZERS))),
        _option("--lr", f"Learning rate [{rates}; the smaller one for other data and "
                "networks without normalisation].", type=float),
        _option("--schedule", "How the rate falls.", type=click.Choice(SCHEDULES)),
        _option("--warmup", "Let the rate rise first.", type=int, metavar="STEPS"),
        _option("--clip-norm", "Largest norm of all gradients together.", type=float),
        _option("--clip-value", "Largest size of one gradient value.", type=float),
        _option("--clip-adaptive", "Largest gradient of a unit, as a share of its weights' norm.",
                type=float),
        _option("--momentum", "Of sgd, 0 to 1: how much of the last step the next one keeps "
                "[momentum: 0.9].", type=float),
        _option("--weight-decay", "How strongly weights are drawn to 0 [adamw: 0.01].",
                type=float),
        _option("--batch-norm", "Batch normalisation behind the convolutions of article or "
                "deep_plain_cnn.", is_flag=True),
        _option("--residual", "A shortcut around the convolutions of deep_plain_cnn.",
                is_flag=True),
        _option("--weight-norm", "Weights as a direction and a length, which begins at this "
                "number.", type=float, metavar="LENGTH"),
        _option("--label-smoothing", "Share of the right class that is spread over all.",
                type=float),
        _option("--epochs", "Passes over the training images.", type=int),
        _option("--batch-size", "Images in a step.", type=int),
        _option("--device", "Where to compute.", type=click.Choice(["cpu", "cuda"])),
        _option("--seed", "Decides weights, order and augmentation.", type=int),
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


@cli.command("train", cls=InSections)
@run_options
@click.option(
    "--config",
    "recipe",
    type=click.Path(),
    help="A TOML file of options, or the config.json of a run; options given here count more.",
)
@click.option("--out", type=click.Path(), help="Folder of the run [runs/DATA-MODEL].")
@click.option("--resume", is_flag=True, help="Go on with the run in --out.")
@click.option("--quiet", is_flag=True, help="Without progress.")
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
        before = Config.from_file(recipe).to_dict()
        options = {n: v if n in given else before[n] for n, v in options.items()}
    if Path(options["data"]).is_dir() and options["data"] not in NAMED:
        options["data"] = os.path.abspath(options["data"])
    if options["root"] is not None:
        options["root"] = os.path.abspath(options["root"])
    if resume and (Path(str(out)) / "config.json").exists():
        before = read_config(str(out))[0].to_dict()
        options = {n: v if n in given | {"device"} else before[n] for n, v in options.items()}
    config = Config(**options)
    config.check()
    folder = _claimed_folder(config) if out is None else Path(out)
    result = train(config, folder, resume=resume, progress=not quiet, say=tell)
    last, speed = result.history.last, result.steps / max(result.seconds, 1e-9)
    rows = [
        ("test accuracy", f"{result.test['accuracy']:.2%}"),
        ("test loss", f"{result.test['loss']:z.4f}"),
        ("training accuracy", f"{last['train_accuracy']:.2%} (mean of the last epoch)"),
        ("time", f"{result.seconds:.1f} s"),
        ("steps", f"{result.steps:,} ({speed:,.0f} a second)"),
    ]
    files = ["config.json", "model.safetensors", "checkpoint", "history.csv", *result.figures]
    rows += [("written to" if i == 0 else "", str(folder / f)) for i, f in enumerate(files)]
    tell("\n" + table(rows))
    guess = 1 / len(read_config(folder)[1]["classes"])
    if result.test["accuracy"] < 1.5 * guess:
        tell(
            f"\nHardly better than a guess ({guess:.0%}). `minidl doctor` with the same options "
            "says why."
        )


def _claimed_folder(config: Config) -> Path:
    """A new folder runs/DATA-MODEL, -2, ...; making it is what claims its name."""
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


@cli.command("evaluate")
@click.argument("run", type=click.Path())
@click.option("--out", type=click.Path(), help="Folder for the figures and the table [RUN].")
def evaluate_command(run: str, out: str | None) -> None:
    """Measure the model of RUN, a run's folder, on the test part of its data.

    Prints how well each class is found and what is most often confused. Writes confusion.png,
    mistakes.png (the worst mistakes) and predictions.csv (every image).
    """
    opened = Run.open(run)
    test = opened.test_part(say=lambda text: tell(f"warning: {text}", err=True))
    numbers, results = opened.trainer().evaluate(test), opened.results(test)
    rows = [(f"test {name}", f"{value:z.4f}") for name, value in numbers.items()]
    click.echo(table([("run", run), ("data", opened.config.data), *rows]))
    click.echo("\n" + results.table() + "\n")
    folder = Path(run if out is None else out)
    folder.mkdir(parents=True, exist_ok=True)
    results.to_csv(folder / "predictions.csv")
    click.echo(f"written to {folder / 'predictions.csv'}")
    figures = ["confusion.png", "mistakes.png"] if len(results.mistakes()) else ["confusion.png"]
    for name in figures:
        try:
            if name == "confusion.png":
                results.plot(folder / name)
            else:
                results.plot_mistakes(opened.as_seen(test), folder / name)
        except ConfigError as error:
            tell(f"no {name}: {error}", err=True)
        else:
            click.echo(f"           {folder / name}")


@cli.command("compare")
@click.argument("runs", type=click.Path(), nargs=-1, required=True)
@click.option("--out", type=click.Path(), help="File for the figure of their curves.")
def compare_command(runs: tuple[str, ...], out: str | None) -> None:
    """Show in which options RUNS differ, and what came of each."""
    found = compare(runs)
    click.echo(table(found.rows()))
    if out is not None:
        found.plot(out)
        click.echo(f"\nwritten to {out}")


@cli.command("predict")
@click.argument("run", type=click.Path())
@click.argument("images", type=click.Path(), nargs=-1, required=True)
@click.option("--top", default=1, show_default=True, help="The so many most probable classes.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each image.")
def predict_command(run: str, images: tuple[str, ...], top: int, as_json: bool) -> None:
    """Print the class of each of IMAGES, and how probable the model of RUN finds it.

    IMAGES are files, or folders of them. Each is stretched to the size of the images that the
    model learned from, and turned grey where those were. Nothing else is changed: digits and MNIST
    are white on black, so invert a photograph of ink on paper first.
    """
    check("predict", "an int >= 1", top=top)
    opened = Run.open(run)
    rows: list[tuple[str, ...]] = []
    bad: list[str] = []
    for path in _files(images, bad):
        try:
            [probabilities] = opened.predict([path])
        except DataError as error:
            bad.append(str(error))
            continue
        best = (-probabilities).argsort(kind="stable")[:top]
        found = [(opened.classes[k], float(probabilities[k])) for k in best]
        if as_json:
            guesses = [{"class": name, "probability": p} for name, p in found]
            click.echo(json.dumps({"image": path, "guesses": guesses}, ensure_ascii=False))
        else:
            rows += [(path if i == 0 else "", n, f"{p:.4f}") for i, (n, p) in enumerate(found)]
    if rows:
        click.echo(table([("image", "class", "probability"), *rows]))
    if bad:
        raise DataError("\n".join(bad))


def _files(paths: Sequence[str], bad: list[str]) -> Iterator[str]:
    """The files among the paths, and those below the folders among them."""
    for path in paths:
        if kind_of(path) != "folder":
            yield path
            continue
        unread: list[tuple[str, str]] = []
        files = sorted(map(str, walk(Path(path), unread)))
        bad += [f"{name}: {reason}" for name, reason in unread]
        if not files and not unread:
            bad.append(f"{path}: the folder holds no files")
        yield from files


@cli.command("export")
@click.argument("run", type=click.Path())
@click.option("--out", type=click.Path(), help="The file [RUN/model.onnx].")
def export_command(run: str, out: str | None) -> None:
    """Write the model of RUN, a run's folder, as an ONNX file for other programs.

    It takes images as minidl reads them, float32 in [0, 1], and gives logits.
    """
    opened = Run.open(run)
    path = Path(run) / "model.onnx" if out is None else Path(out)
    model, shape = opened.model, opened.shape
    export_onnx(path, model, shape, normalize=opened.normalize, classes=opened.classes)
    click.echo(
        f"written to {path}: input (N, {', '.join(map(str, shape))}) float32 in [0, 1], "
        f"output (N, {len(opened.classes)}) logits"
    )


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
    data = load_data(config, None, True).train
    model = config.build_model(data.images.shape[1:], len(data.classes))
    optimizer = config.build_optimizer(model)
    steps = config.epochs * -(-len(data) // config.batch_size)
    schedule = config.build_schedule(steps)
    optimizer.lr = config.rate if schedule is None else schedule(0)
    batch = next(iter(DataLoader(data, config.batch_size, shuffle=True, seed=config.seed)))
    report = doctor(
        model, batch, optimizer,
        loss=config.build_loss(), clip=config.build_clip(), trial_steps=trial_steps,
    )  # fmt: skip
    click.echo(report.table())
    if out is not None:
        Path(out).mkdir(parents=True, exist_ok=True)
        report.to_json(Path(out) / "doctor.json")
        report.plot(Path(out) / "doctor.png")
        click.echo(f"written to {Path(out) / 'doctor.json'} and {Path(out) / 'doctor.png'}")


@cli.command("datasets")
def datasets_command() -> None:
    """List the data sets that --data knows by name."""
    rows = [("name", "images", "shape", "classes", "source and licence", "where")]
    for name, known in NAMED.items():
        where = "in scikit-learn"
        if known.where is not None:
            folder = cache_folder() / known.where
            where = f"{folder}{'' if folder.is_dir() else ' (downloaded on first use)'}"
        rows.append((name, known.images, known.shape, known.classes, known.source, where))
    click.echo(table(rows))
    click.echo("\nAny folder of class folders is a data set too: --data FOLDER")


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
