"""What a run keeps besides weights and history: pictures of each epoch, events for TensorBoard."""

import contextlib
import io
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from .. import plot
from ..files import remove_parts, write_bytes

PICTURES, EVENTS = "pictures", "tensorboard"
_AT_ONCE = 50  # steps
_PLACE = ("step", "epoch")  # columns that say where, not how much


class PictureKeeper:
    """A monitor that keeps filters, feature maps and saliency for one image, epoch after epoch.

    folder: of the run. pictures/epoch-0003.npz holds the arrays after epoch 3, epoch-0000.npz those
    before the first step. label: the class whose logit the saliency is of. steps: of an epoch. A
    resumed run adds to the files.
    """

    def __init__(self, folder: Path, image: np.ndarray, label: int, steps: int) -> None:
        self._folder, self._image, self._label = folder / PICTURES, image, label
        self._steps = steps  # of an epoch

    def start(self, trainer: Any) -> None:
        """Take the pictures of the weights before the first step."""
        remove_parts(self._folder, "epoch-*")
        if not self._path(0).exists() and not len(trainer.history):
            self._take(trainer, 0)

    def after_update(self, trainer: Any, step: int) -> None:
        """Take the pictures where the step was the last of its epoch."""
        if (step + 1) % self._steps == 0:
            self._take(trainer, (step + 1) // self._steps)

    def draw(self, path: Path) -> None:
        """Write the strip of all epochs to a file."""
        taken = {}
        for file in sorted(self._folder.glob("epoch-*.npz")):
            epoch = int(file.stem.removeprefix("epoch-"))
            with np.load(file) as arrays:
                taken[f"epoch {epoch}" if epoch else "at the start"] = dict(arrays)
        plot.strip(taken, path)

    def _take(self, trainer: Any, epoch: int) -> None:
        file = io.BytesIO()
        np.savez_compressed(file, **plot.take_pictures(trainer.model, self._image, self._label))
        write_bytes(self._path(epoch), file.getvalue())

    def _path(self, epoch: int) -> Path:
        return self._folder / f"epoch-{epoch:04d}.npz"


class TensorBoardWriter:
    """A monitor that writes the history as events that TensorBoard shows, by its own library.

    folder: of the run; the events are in tensorboard/. library: the classes of TensorBoard that are
    used. A resumed run writes all events again. Where they cannot be written, the run must not end:
    `say` is told, and the run goes on without them.
    """

    def __init__(self, folder: Path, library: Any, say: Callable[[str], Any]) -> None:
        self._library, self._folder, self._say = library, folder / EVENTS, say
        self._file: Any = None
        self._steps = self._epochs = 0  # that are written

    def start(self, trainer: Any) -> None:
        """Open a file of events, with the history so far."""
        self._steps = self._epochs = 0
        try:
            self._folder.mkdir(exist_ok=True)
            for old in self._folder.glob("events.out.tfevents.*"):
                old.unlink()
            now = time.time()
            self._file = io.FileIO(self._folder / f"events.out.tfevents.{now:.0f}.minidl", "wb")
            self._records = self._library.Records(self._file)
            self._add(self._library.Event(file_version="brain.Event:2", wall_time=now))
        except OSError as error:
            self._give_up(error)
        self._write(trainer.history)

    def after_update(self, trainer: Any, step: int) -> None:
        """Write the numbers of the steps, 50 at a time: one by one would slow the run down."""
        if len(trainer.history) - self._steps >= _AT_ONCE:
            self._write(trainer.history)

    def finish(self, trainer: Any) -> None:
        """Write what is left, and close the file."""
        self._write(trainer.history)
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self, history: Any) -> None:
        """The steps and epochs that are not written yet."""
        if self._file is None:
            return
        try:
            new = len(history) - self._steps
            columns = {n: history.column(n, new) for n in history.step_names if n not in _PLACE}
            for row in range(new):
                self._add_numbers({n: columns[n][row] for n in columns}, self._steps)
                self._steps += 1
            epochs, ends = history.epochs, np.cumsum(np.bincount(history.steps["epoch"]))
            for row in range(self._epochs, len(epochs["epoch"])):
                numbers = {f"epoch/{n}": v[row] for n, v in epochs.items() if n != "epoch"}
                self._add_numbers(numbers, int(ends[row + 1]) - 1)
                self._epochs += 1
        except OSError as error:
            self._give_up(error)

    def _add_numbers(self, numbers: Mapping[str, float], step: int) -> None:
        values = [self._library.Value(tag=name, simple_value=x) for name, x in numbers.items()]
        summary = self._library.Summary(value=values)
        self._add(self._library.Event(step=step, summary=summary, wall_time=time.time()))

    def _add(self, event: Any) -> None:
        self._records.write(event.SerializeToString())

    def _give_up(self, error: OSError) -> None:
        with contextlib.suppress(OSError):
            if self._file is not None:
                self._file.close()
        self._file = None
        self._say(f"no events for TensorBoard: {error.strerror or error}")


def tensorboard_writer(folder: Path, say: Callable[[str], Any]) -> TensorBoardWriter | None:
    """The writer of a run's events; None where TensorBoard cannot be imported."""
    try:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.record_writer import RecordWriter
    except ImportError:
        return None
    except Exception as error:  # a version that does not fit the others installed
        say(f"no events for TensorBoard: its library cannot be used ({error})")
        return None
    library = SimpleNamespace(
        Event=Event, Summary=Summary, Value=Summary.Value, Records=RecordWriter
    )
    return TensorBoardWriter(folder, library, say)
