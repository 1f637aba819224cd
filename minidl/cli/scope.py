"""The backprop microscope: `minidl scope`."""

import webbrowser
from pathlib import Path

import click

from ..errors import ConfigError
from ..scope.looking import at_lab, at_run
from ..scope.opening import Scope
from ..scope.recorded import export
from .group import cli


@cli.command("scope")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port [a free one].")
@click.option("--no-browser", is_flag=True, help="Only print the address.")
@click.option("--run", type=click.Path(), help="Look at the model of a run's folder, on its data.")
@click.option("--image", type=click.Path(), help="Look at this image file first.")
@click.option("--label", type=int, help="The number of --image's class [the most probable].")
@click.option("--export", "file", type=click.Path(), help="Write the page with recorded scenes.")
def scope_command(
    port: int,
    no_browser: bool,
    run: str | None,
    image: str | None,
    label: int | None,
    file: str | None,
) -> None:
    """Open the backprop microscope: one step of a network, op by op, in the browser.

    Shows the lab's network with its sliders, or the model of a run. The page is served to this
    machine alone, until Ctrl-C. --export writes it as one HTML file that works by itself.
    """
    if label is not None and image is None:
        raise ConfigError("--label: expected only together with --image")
    if file is not None and (run or image):
        raise ConfigError("--export: expected without --run and --image; it holds the lab's scenes")
    if file is not None:
        size = export(Path(file), say=lambda text: click.echo(text, err=True))
        click.echo(f"written to {file} ({size / 1e6:.2f} MB)")
        return
    subject = at_lab(image, label) if run is None else at_run(run, image, label)
    with Scope(subject, port) as opened:
        click.echo(f"the microscope is at {opened.url} (Ctrl-C ends it)")
        if not no_browser:
            webbrowser.open(opened.url)
        opened.wait()
