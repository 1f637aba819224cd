"""What a run shows while it goes on: a bar where someone watches, a line for each epoch."""

import sys
import time
from collections.abc import Mapping
from typing import Any

_REFRESH = 0.1  # seconds


class Progress:
    """Shows steps on a bar (rich, on a terminal) and prints a line for each epoch."""

    def __init__(self, epochs: int, steps: int, *, show: bool) -> None:
        self.epochs = epochs
        self.show = show
        self._next = 0.0
        self._bar: Any = None
        if show and sys.stderr.isatty():
            self._bar = _rich_bar()
        if self._bar is not None:
            self._task = self._bar.add_task("", total=steps)
            self._bar.start()

    def step(
        self, epoch: int, batch: int, loss: float, accuracy: float, rate: float, norm: float
    ) -> None:
        """After a step; drawn ten times a second at most, so that it costs nothing."""
        if self._bar is None or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _REFRESH
        text = (
            f"epoch {epoch}/{self.epochs}  loss {loss:.4f}  accuracy {accuracy:.3f}  "
            f"lr {rate:.3g}  gradient norm {norm:.3g}"
        )
        self._bar.update(self._task, completed=batch, description=text)

    def epoch(self, row: Mapping[str, float]) -> None:
        """After an epoch, with its row of the history."""
        if not self.show:
            return
        parts = [f"epoch {int(row['epoch'])}/{self.epochs}"]
        parts += [f"loss {row['train_loss']:.4f}", f"accuracy {row['train_accuracy']:.4f}"]
        if "validation_loss" in row:
            parts.append(f"validation loss {row['validation_loss']:.4f}")
            parts.append(f"accuracy {row['validation_accuracy']:.4f}")
        parts.append(f"{row['seconds']:.1f} s")
        self.say("  ".join(parts))

    def say(self, line: str) -> None:
        """Print a line, above the bar."""
        if self.show and self._bar is not None:
            self._bar.console.print(line, highlight=False, markup=False)
        elif self.show:
            print(line, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()


def _rich_bar() -> Any:
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn
        from rich.progress import Progress as Bar
        from rich.text import Text
    except ImportError:
        return None

    class Speed(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text(f"{speed:.0f} steps/s" if speed else "")

    return Bar(
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        Speed(),
        console=Console(stderr=True),
        transient=True,
    )
