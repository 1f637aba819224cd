"""The progress of a search: a live table on a terminal, else a line for each trial."""

import sys
import time
from collections.abc import Callable
from typing import Any

from ..train.progress import print_line
from .summary import RUNNING, Row, Summary

_REFRESH = 0.5  # seconds
_SHOWN = 12  # trials
_COLORS = {"finished": "green", "running": "cyan", "diverged": "red", "failed": "red"}


class Table:
    """Shows the newest trials and the best one.

    look: a function that returns the present summary. It is called twice a second at most.
    """

    def __init__(self, look: Callable[[], Summary], show: bool = True) -> None:
        self._look, self._show = look, show
        self._told: set[int] = set()
        self._next = 0.0
        self._began = time.monotonic()
        self._live: Any = None

    def __enter__(self) -> "Table":
        if self._show and sys.stderr is not None and sys.stderr.isatty():
            self._live = _live()
        if self._live is not None:
            self._live.start()
        self.update(force=True)
        return self

    def __exit__(self, *error: Any) -> None:
        self.update(force=True)
        if self._live is not None:
            self._live.stop()

    def update(self, force: bool = False) -> None:
        """Show the present state of the search; force: even if it was shown just before."""
        if not self._show or (not force and time.monotonic() < self._next):
            return
        self._next = time.monotonic() + _REFRESH
        try:
            summary = self._look()
            if self._live is not None:
                self._live.update(_drawn(summary, time.monotonic() - self._began), refresh=True)
                return
            for row in summary.rows:
                if row.outcome != RUNNING and row.number not in self._told:
                    self._told.add(row.number)
                    print_line(line(row))
        except OSError:  # no terminal may end a search
            self._show = False


def line(row: Row) -> str:
    """A trial in one line."""
    accuracy = "" if row.accuracy is None else f"  accuracy {row.accuracy:.4f}"
    why = f"  {row.reason}" if row.reason else ""
    if row.audited:
        why += f"  (audit: {'diverged' if row.audit is None else f'{row.audit:.4f}'})"
    if row.outcome == "refused":
        why = f"  {row.verdict}: {row.code}" + why[len(f"  {row.reason}") :]
    return f"trial {row.number:>3}  {row.outcome:<8}{accuracy}{why}  {options(row)}"


def options(row: Row) -> str:
    """The drawn options of a trial, as on the command line."""
    return " ".join(f"--{name} {number(value)}" for name, value in row.options.items())


def number(value: Any) -> str:
    """A value of an option, with three digits."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _live() -> Any:
    try:
        from rich.console import Console
        from rich.live import Live
    except ImportError:
        return None
    return Live(console=Console(stderr=True), auto_refresh=False, transient=False)


def _drawn(summary: Summary, seconds: float) -> Any:
    from rich.console import Group
    from rich.table import Table as RichTable
    from rich.text import Text

    table = RichTable(box=None, pad_edge=False, expand=True)
    for name in ("trial", "outcome", "epochs", "accuracy"):
        table.add_column(name, no_wrap=True, justify="left" if name == "outcome" else "right")
    table.add_column("options, or why not", no_wrap=True, overflow="ellipsis", ratio=1)
    best = summary.best
    running = [row for row in summary.rows if row.outcome == RUNNING]
    recent = [row for row in summary.rows if row.outcome != RUNNING][-_SHOWN:]
    for row in sorted([*running, *recent], key=lambda row: row.number):
        style = "bold green" if row is best else _COLORS.get(row.outcome, "")
        why = f"{row.verdict}: {row.code}" if row.outcome == "refused" else row.reason
        accuracy = "" if row.accuracy is None else f"{row.accuracy:.4f}"
        table.add_row(
            *(str(row.number), row.outcome, f"{row.epochs:.0f}", accuracy, why or options(row)),
            style=style,
        )
    done = len(summary.rows) - len(running)
    counts = ", ".join(f"{n} {name}" for name, n in summary.counts.items() if name != RUNNING)
    head = f"{done} of {summary.trials} trials ({counts or 'none yet'})  {seconds:.0f} s"
    if best is not None:
        head += f"  best {best.accuracy:.4f} (trial {best.number})"
    return Group(Text(head, style="bold"), table)
