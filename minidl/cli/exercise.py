"""`minidl exercise`."""

from pathlib import Path

import click

from ..errors import DataError
from ..exercises import Wrong, exercise, exercises, judge
from .group import cli, table


@cli.command("exercise")
@click.argument("number", type=int, required=False)
@click.option(
    "--file", "name", type=click.Path(), help="Your file [exercise_NN.py in this folder]."
)
def exercise_command(number: int | None, name: str | None) -> None:
    """Do the exercise of chapter NUMBER of the book; without a number, list them.

    Where there is no file yet, a blank one is written, with the question at its top. Write your
    answer into it and give the command again: it runs your file and says in words what is wrong.
    The exit code is 0 for a right answer and for a new blank file, and 1 for a wrong answer.
    """
    if number is None:
        click.echo(table([(str(each.number), each.title) for each in exercises()]))
        return
    chosen = exercise(number)
    path = Path(chosen.file if name is None else name)
    if not path.exists():
        try:
            path.write_text(chosen.blank, encoding="utf-8")
        except OSError as error:
            raise DataError(f"exercise: cannot write {str(path)!r}: {error.strerror}") from None
        click.echo(f"{chosen.title}\nwritten: {path}. The question stands at its top; write your")
        click.echo("answer into it, then give this command again.")
        return
    try:
        click.echo(f"Right. {judge(chosen, path)}")
    except Wrong as wrong:
        click.echo(f"Not yet. {wrong}")
        raise SystemExit(1) from None
