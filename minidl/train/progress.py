"""The progress of a run on stderr: a bar if it is a terminal, and a line for each epoch.

A failure to show progress must not end a training. If the terminal is gone, or the disk of a log
file is full, the run continues in silence.
"""

import contextlib
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

_REFRESH = 0.1  # seconds
_JUMP, _FIRST = 3.0, 50  # LossJump warns of a loss over _JUMP times the first, in steps < _FIRST


class Progress:
    """Shows steps on a bar (rich, on a terminal) and prints a line for each epoch."""

    def __init__(self, epochs: int, steps: int, *, show: bool) -> None:
        self.epochs, self.steps = epochs, steps
        self.show = show
        self._next = 0.0
        self._bar: Any = None

    def start(self) -> None:
        """Show the bar, where there is a terminal."""
        self._draw(self._start)

    def _start(self) -> None:
        if sys.stderr.isatty():
            self._bar = _rich_bar()
        if self._bar is not None:
            self._task = self._bar.add_task("", total=self.steps)
            self._bar.start()

    def step(
        self, epoch: int, batch: int, loss: float, accuracy: float, rate: float, norm: float
    ) -> None:
        """Show a step on the bar, at most ten times a second, so that it costs next to no time."""
        if self._bar is None or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _REFRESH
        text = (
            f"epoch {epoch}/{self.epochs}  loss {loss:.4f}{_share(accuracy, '.3f')}  "
            f"lr {rate:.3g}  gradient norm {norm:.3g}"
        )
        self._draw(lambda: self._bar.update(self._task, completed=batch, description=text))

    def epoch(self, row: Mapping[str, float]) -> None:
        """Print the line of an epoch. row: its row of the history."""
        parts = f"epoch {int(row['epoch'])}/{self.epochs}  loss {row['train_loss']:.4f}"
        parts += _share(row["train_accuracy"], ".4f")
        if "validation_loss" in row:
            parts += f"  validation loss {row['validation_loss']:.4f}"
            parts += _share(row["validation_accuracy"], ".4f")
        self.say(f"{parts}  {row['seconds']:.1f} s")

    def say(self, line: str) -> None:
        """Print a line, above the bar."""
        if self._bar is not None:
            self._draw(lambda: self._bar.console.print(line, highlight=False, markup=False))
        else:
            self._draw(lambda: print_line(line))

    def close(self) -> None:
        """Remove the bar, and show the cursor again."""
        if self._bar is not None:
            with contextlib.suppress(Exception):
                self._bar.stop()
            self._bar = None

    def _draw(self, draw: Callable[[], Any]) -> None:
        if self.show and sys.stderr is not None:  # None: the process was started without one
            try:
                draw()
            except Exception:  # of any kind, because the training matters and the picture does not
                self.show = False
                self.close()


def print_line(line: str) -> None:
    """Print on stderr; characters that its encoding lacks become question marks."""
    encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
    print(line.encode(encoding, "replace").decode(encoding), file=sys.stderr, flush=True)


class LossJump:
    """A monitor that warns if the loss grows to a multiple in the first steps, before it is NaN.

    say: a function that is called once, with one line of text. advice: the end of that line.
    """

    def __init__(self, say: Callable[[str], Any], advice: str) -> None:
        self._say, self._advice = say, advice
        self._first: float | None = None
        self._told = False

    def before_update(self, trainer: Any, step: int) -> None:
        """Look at the loss of the step."""
        loss = trainer.loss_value
        self._first = loss if self._first is None else self._first
        if step < _FIRST and loss > _JUMP * abs(self._first) > 0 and not self._told:
            self._told = True
            self._say(
                f"step {step}: the loss has grown from {self._first:.4g} to {loss:.4g}: "
                + self._advice.format(rate=trainer.history.column("learning_rate", 1)[0])
            )


def _share(accuracy: float, form: str) -> str:
    """The accuracy as text; "" for NaN, which stands for targets that are no classes."""
    return f"  accuracy {accuracy:{form}}" if accuracy == accuracy else ""


def _rich_bar() -> Any:
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn
        from rich.progress import Progress as Bar
        from rich.table import Column
        from rich.text import Text
    except ImportError:
        return None

    class Terminal(Console):
        def on_broken_pipe(self) -> None:  # rich would end the program
            raise BrokenPipeError

    class Speed(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text(f"{speed:.0f} steps/s" if speed else "")

    one_line = Column(no_wrap=True, overflow="ellipsis", ratio=1)
    return Bar(
        TextColumn("{task.description}", table_column=one_line),
        BarColumn(bar_width=20),
        MofNCompleteColumn(table_column=Column(no_wrap=True)),
        Speed(table_column=Column(no_wrap=True)),
        console=Terminal(stderr=True),
        transient=True,
        expand=True,
    )
