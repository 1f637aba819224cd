"""The record of a run: a row for each step, and a row for each epoch."""

import csv
import io
from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import notebook
from ..errors import DataError
from ..files import PathLike, check_ordinary, write_bytes

STEP = ("step", "epoch", "learning_rate", "loss", "accuracy", "gradient_norm")
EPOCH = ("epoch", "train_loss", "train_accuracy")
PER_LAYER = "gradient_norm/"
_WHOLE = ("step", "epoch")


class History:
    """The numbers of a run, in float64.

    `.steps` and `.epochs` are columns by name, ready for pandas.DataFrame. A step has step (from
    0), epoch (from 1), learning_rate, loss and accuracy of its batch, gradient_norm (of all
    layers, before clipping) and `gradient_norm/LAYER`. An epoch has epoch, train_loss,
    train_accuracy (means over its images), validation_loss, validation_accuracy and further
    metrics where there is a validation part, and seconds.
    """

    def __init__(self, layers: Sequence[str] = (), validation: Sequence[str] = ()) -> None:
        self.layers = tuple(layers)
        self.step_names = (*STEP, *(PER_LAYER + layer for layer in layers))
        self.epoch_names = (*EPOCH, *(f"validation_{name}" for name in validation), "seconds")
        # Flat rows of C doubles: eight bytes for a number, and no objects to collect as garbage.
        self._steps, self._epochs = array("d"), array("d")

    def __len__(self) -> int:
        """The number of steps."""
        return len(self._steps) // len(self.step_names)

    def __repr__(self) -> str:
        last = self.last
        shown = ", ".join(f"{name} {last[name]:.4g}" for name in last if name != "epoch")
        count = len(self._epochs) // len(self.epoch_names)
        return f"<History: {len(self):,} steps, {count} epochs{'; ' + shown if shown else ''}>"

    def _repr_html_(self) -> str:
        """The epochs as a table, in a notebook."""
        columns = self.epochs
        rows = ([notebook.number(x) for x in row] for row in zip(*columns.values(), strict=True))
        head = [name.replace("_", " ") for name in columns]
        return f"<b>History</b> of {len(self):,} steps{notebook.table(head, rows)}"

    @property
    def steps(self) -> dict[str, np.ndarray]:
        """The columns of the steps."""
        return _columns(self._steps, self.step_names)

    @property
    def epochs(self) -> dict[str, np.ndarray]:
        """The columns of the epochs."""
        return _columns(self._epochs, self.epoch_names)

    @property
    def last(self) -> dict[str, float]:
        """The last epoch's row; empty before the first epoch has ended."""
        row = self._epochs[-len(self.epoch_names) :]
        return dict(zip(self.epoch_names, row, strict=True)) if row else {}

    @property
    def best_epoch(self) -> int | None:
        """The epoch (from 1) with the lowest validation loss, the first of equals; or None."""
        losses = self.epochs.get("validation_loss", np.empty(0))
        if not np.isfinite(losses).any():
            return None
        return int(self.epochs["epoch"][np.nanargmin(np.where(np.isinf(losses), np.nan, losses))])

    def add_step(self, row: Sequence[float]) -> None:
        """Append a step: the numbers in the order of `step_names`."""
        self._steps.extend(row)

    def add_epoch(self, row: Sequence[float]) -> None:
        """Append an epoch: the numbers in the order of `epoch_names`."""
        self._epochs.extend(row)

    def column(self, name: str, count: int) -> np.ndarray:
        """One column of the last `count` steps."""
        width = len(self.step_names)
        rows = self._steps[max(0, len(self) - count) * width :]
        return np.array(rows).reshape(-1, width)[:, self.step_names.index(name)]

    def to_arrays(self) -> dict[str, np.ndarray]:
        """The two tables as arrays, for a checkpoint."""
        return {
            "steps": np.array(self._steps).reshape(-1, len(self.step_names)),
            "epochs": np.array(self._epochs).reshape(-1, len(self.epoch_names)),
        }

    def set_arrays(self, arrays: dict[str, np.ndarray]) -> None:
        """Replace both tables by the arrays of a `to_arrays`."""
        self._steps = array("d", arrays["steps"].tobytes())
        self._epochs = array("d", arrays["epochs"].tobytes())

    def to_csv(self, path: PathLike) -> None:
        """Write one table: a row for each step. An epoch's columns are filled in its last row only.

        Numbers are written so that reading them gives the same float64 again.
        Raises: CheckpointError where the file cannot be written.
        """
        write_bytes(path, self.csv(0, header=True).encode())

    def csv(self, first: int, *, header: bool = False) -> str:
        """The rows of `to_csv` from step `first` on, as text."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        extra = self.epoch_names[1:]
        if header:
            writer.writerow([*self.step_names, *extra])
        steps, epochs = self.to_arrays().values()
        ends = {int(row[0]): row[1:] for row in epochs}
        numbers = steps[:, 1]
        for at in range(first, len(steps)):
            closes = at + 1 == len(steps) or numbers[at + 1] != numbers[at]
            end = ends.get(int(numbers[at])) if closes else None
            writer.writerow(
                [int(steps[at, 0]), int(numbers[at])]
                + steps[at, 2:].tolist()
                + ([""] * len(extra) if end is None else end.tolist())
            )
        return text.getvalue()

    @classmethod
    def from_csv(cls, path: PathLike) -> "History":
        """Read what `to_csv` wrote. Raises: DataError if it is another kind of file."""
        check_ordinary(path)
        try:
            with open(path, newline="", encoding="utf-8") as file:
                header, *rows = [*csv.reader(file)] or [[]]
        except (OSError, ValueError, csv.Error) as error:
            raise DataError(f"History: cannot read {str(path)!r}: {error}") from None
        layers = [name.removeprefix(PER_LAYER) for name in header if name.startswith(PER_LAYER)]
        prefix = "validation_"
        history = cls(layers, [n.removeprefix(prefix) for n in header if n.startswith(prefix)])
        width = len(history.step_names)
        if header != [*history.step_names, *history.epoch_names[1:]]:
            raise DataError(
                f"History: expected the columns {', '.join(STEP)}, ... in {str(path)!r}, got "
                f"{', '.join(header) or 'none'}"
            )
        for number, row in enumerate(rows, 2):
            try:
                if len(row) != len(header):
                    raise ValueError(f"{len(row)} values")
                history.add_step([float(value) for value in row[:width]])
                if row[-1]:
                    history.add_epoch([float(value) for value in [row[1], *row[width:]]])
            except ValueError as error:
                raise DataError(
                    f"History: expected {len(header)} numbers in line {number} of {str(path)!r}, "
                    f"got {error}"
                ) from None
        return history


def _columns(flat: array, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    table = np.array(flat).reshape(-1, len(names))
    columns: dict[str, Any] = {}
    for index, name in enumerate(names):
        column = table[:, index].copy()
        columns[name] = column.astype(np.int64) if name in _WHOLE else column
    return columns
