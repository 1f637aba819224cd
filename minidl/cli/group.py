"""The `minidl` command itself: its errors in one sentence, its output, its signals."""

import errno
import os
import signal
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import click

from .. import __version__
from ..errors import MinidlError
from ..train.interrupt import Stopped


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
