"""`minidl datasets`."""

import click

from ..data.download import cache_folder
from ..runs import NAMED
from .group import cli, table


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
