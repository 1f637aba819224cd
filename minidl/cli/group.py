"""The `minidl` command itself: its errors in one sentence, its output, its signals."""

import errno
import os
import signal
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import click

from .. import __version__, processes
from ..errors import MinidlError
from ..train.interrupt import Stopped
from ..train.team import team

SHARED = ("train", "evaluate")  # the commands that several processes do together
_KNOWN = (MinidlError, MemoryError, OSError, KeyboardInterrupt)


class Group(click.Group):
    """Commands whose errors are one message and exit code 2, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with processes.together():
                team()  # several processes find each other before anything may fail
                return super().invoke(ctx)
        except _KNOWN as error:
            if isinstance(error, OSError) and error.errno == errno.EPIPE:
                raise  # the program that read the output has ended
            text, code = _in_words(error)
        tell(text, err=True)
        ctx.exit(code)


def _in_words(error: BaseException) -> tuple[str, int]:
    """(the message of an error, the exit code of the command)."""
    if isinstance(error, KeyboardInterrupt):
        return str(error) or "stopped", 128 + getattr(error, "number", signal.SIGINT)
    text = str(error)
    if isinstance(error, MemoryError):
        text = (
            f"there is not enough memory ({error or 'no details'}); give a smaller "
            "--batch-size, --size or model"
        )
    elif isinstance(error, OSError) and not isinstance(error, MinidlError):
        place = "" if error.filename is None else f"{str(error.filename)!r}: "
        text = f"{place}{error.strerror or error}"
    return f"error: {text}", 2


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
            # A terminal may lack a sign such as ‖. That must not stop a run.
            stream.reconfigure(errors="replace")
    warnings.showwarning = lambda message, *rest: tell(f"warning: {message}", err=True)
    if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:  # ignored signals stay ignored
        signal.signal(signal.SIGTERM, _terminated)
    if processes.place()[1] > 1 and not _one_of_several():
        return
    try:
        cli(prog_name="minidl")
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                if stream is not None:
                    stream.flush()
            except (OSError, ValueError):
                _silence(stream)


def _one_of_several() -> bool:
    """Prepare a process that `mpiexec` started with others; returns whether it has work to do.

    Process 0 alone prints. But an error that ends all processes is printed by the process in which
    it arose.
    """
    first, shared = processes.place()[0] == 0, set(sys.argv[1:2]) <= set(SHARED)
    if not shared:
        os.environ["MINIDL_PROCESSES"] = "alone"
        return first
    processes.last_words = _last_words
    if not first:
        sys.stdout = sys.stderr = None
    return True


def _last_words(error: BaseException) -> tuple[str, int]:
    if not isinstance(error, _KNOWN):
        return processes.traced(error)
    text, code = _in_words(error)
    rank, size = processes.place()
    return f"{text} (in process {rank} of {size}, counted from 0)", code


def _terminated(number: int, frame: Any) -> None:
    raise Stopped("stopped", number)


def table(rows: Sequence[Sequence[str]]) -> str:
    """Text in columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
