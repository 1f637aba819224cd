"""The results of a run: `minidl evaluate`, `compare`, `predict`, `export`."""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from ..checks import check
from ..data.parts import walk
from ..errors import ConfigError, DataError
from ..export import export_onnx
from ..files import kind_of, writable_folder
from ..processes import place
from ..runs import Run, compare
from .group import cli, table, tell

_last = click.option(
    "--last", is_flag=True, help="The weights of the last epoch, where those of the best are kept."
)


@cli.command("evaluate")
@click.argument("run", type=click.Path())
@click.option("--out", type=click.Path(), help="Folder for the figures and the table [RUN].")
@_last
def evaluate_command(run: str, out: str | None, last: bool) -> None:
    """Measure the model of RUN, a run's folder, on the test part of its data.

    Prints how well each class is found and what is most often confused. Writes confusion.png,
    mistakes.png (the worst mistakes) and predictions.csv (every image).
    """
    opened = Run.open(run, last=last)
    folder = writable_folder("--out", run if out is None else out)
    test = opened.test_part(say=lambda text: tell(f"warning: {text}", err=True))
    numbers, results = opened.trainer().evaluate(test), opened.results(test)
    if place()[0]:  # process 0 tells and writes
        return
    rows = [(f"test {name}", f"{value:z.4f}") for name, value in numbers.items()]
    click.echo(table([("run", run), ("data", opened.config.data), *rows]))
    click.echo("\n" + results.table() + "\n")
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
    """Show the options in which RUNS differ, and the results of each."""
    found = compare(runs)
    click.echo(table(found.rows()))
    if out is not None:
        found.plot(out)
        click.echo(f"\nwritten to {out}")


@cli.command("predict")
@click.argument("run", type=click.Path())
@click.argument("images", type=click.Path(), nargs=-1, required=True)
@click.option("--top", default=1, show_default=True, help="Print this many classes.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each image.")
@_last
def predict_command(run: str, images: tuple[str, ...], top: int, as_json: bool, last: bool) -> None:
    """Print the class of each of IMAGES, and how probable the model of RUN finds it.

    IMAGES are files, or folders of them. Each is stretched to the size of the images that the
    model learned from, and turned grey where those were. Nothing else is changed: digits and MNIST
    are white on black, so invert a photograph of ink on paper first.
    """
    check("predict", "an int >= 1", top=top)
    opened = Run.open(run, last=last)
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
            click.echo(_json({"image": path, "guesses": guesses}))
        else:
            rows += [(path if i == 0 else "", n, f"{p:.4f}") for i, (n, p) in enumerate(found)]
    if rows:
        click.echo(table([("image", "class", "probability"), *rows]))
    if bad:
        raise DataError("\n".join(bad))


def _json(value: Any) -> str:
    """JSON that standard output can hold, so that a name is never printed as another one."""
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:  # a terminal without the sign, or a name that is no UTF-8
        return json.dumps(value)
    return text


def _files(paths: Sequence[str], bad: list[str]) -> Iterator[str]:
    """The files among the paths, and all files below the folders among them.

    bad: gets a sentence for each folder that cannot be read or holds nothing.
    """
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
@_last
def export_command(run: str, out: str | None, last: bool) -> None:
    """Write the model of RUN, a run's folder, as an ONNX file for other programs.

    It takes images as minidl reads them, float32 in [0, 1], and gives logits.
    """
    opened = Run.open(run, last=last)
    path = Path(run) / "model.onnx" if out is None else Path(out)
    model, shape = opened.model, opened.shape
    export_onnx(path, model, shape, normalize=opened.normalize, classes=opened.classes)
    click.echo(
        f"written to {path}: input (N, {', '.join(map(str, shape))}) float32 in [0, 1], "
        f"output (N, {len(opened.classes)}) logits"
    )
