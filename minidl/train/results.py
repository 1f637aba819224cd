"""The results of a classifier on labelled examples: by class, confused classes, mistakes."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import notebook
from ..checks import check
from ..data import Dataset
from ..errors import DataError
from ..files import PathLike, write_text

_ROUNDING = 1e-5  # by which a probability may be above 1
BY_CLASS = ("class", "precision", "recall", "F1", "images")


@dataclass
class Results:
    """The probabilities that a classifier gave to labelled examples, and measures of them.

    labels: the right classes, as indices of `classes`. probabilities: of each class, as
    `Trainer.predict` returns them. paths: the file of each example, if it came from one.
    Shapes: labels (N,), probabilities (N, K), K names in classes.
    Raises: DataError where these do not fit together.
    """

    labels: np.ndarray
    probabilities: np.ndarray
    classes: Sequence[str]
    paths: Sequence[str] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        self.labels, self.probabilities = np.asarray(self.labels), np.asarray(self.probabilities)
        n, k = self.labels.size, len(self.classes)
        fits = self.labels.shape == (n,) and self.labels.dtype.kind in "iu"
        fits = fits and self.probabilities.dtype.kind in "fiu"
        if not fits or self.probabilities.shape != (n, k) or len(self.paths) not in (0, n):
            raise DataError(
                f"Results: expected whole-number labels (N,), probabilities (N, {k}) for the {k} "
                f"classes, and no paths or N, got labels {self.labels.shape} of "
                f"{self.labels.dtype}, probabilities {self.probabilities.shape} of "
                f"{self.probabilities.dtype}, {len(self.paths)} paths"
            )
        if n and not 0 <= self.labels.min() <= self.labels.max() < k:
            raise DataError(
                f"Results: expected labels from 0 to {k - 1}, got from {self.labels.min()} to "
                f"{self.labels.max()}"
            )
        self.labels = self.labels.astype(np.int64)  # a confusion's place, label·K, needs the room
        shares = (self.probabilities >= 0) & (self.probabilities <= 1 + _ROUNDING)
        if not shares.all():
            row = int(np.argmin(shares.all(1)))
            raise DataError(
                f"Results: expected probabilities from 0 to 1, got {self.probabilities[row]} for "
                f"example {row}; softmax makes them of logits, and NaN comes from a model whose "
                "weights are too large"
            )

    @property
    def guesses(self) -> np.ndarray:
        """The most probable class of each example (N,)."""
        return self.probabilities.argmax(1)

    def confusion(self) -> np.ndarray:
        """The confusion matrix (K, K): row i, column j counts examples of class i called j."""
        k = len(self.classes)
        return np.bincount(self.labels * k + self.guesses, minlength=k * k).reshape(k, k)

    def by_class(self) -> list[dict[str, Any]]:
        """For each class: precision, recall, F1, and how many images it has.

        Precision p: of the examples that were called this class, the share that belong to it.
        Recall r: of the examples that belong to this class, the share that were called so.
        F1 = 2·p·r/(p + r). A share of no examples is 0, as in scikit-learn.
        """
        counts = self.confusion()
        right, called, there = counts.diagonal(), counts.sum(0), counts.sum(1)
        precision, recall = _share(right, called), _share(right, there)
        f1 = _share(2 * right, called + there)
        columns = self.classes, precision.tolist(), recall.tolist(), f1.tolist(), there.tolist()
        return [dict(zip(BY_CLASS, row, strict=True)) for row in zip(*columns, strict=True)]

    def most_confused(self, most: int = 5) -> list[tuple[str, str, int]]:
        """(right class, guessed class, how often), the most frequent mistakes first."""
        check("Results.most_confused", "an int >= 1", most=most)
        counts = self.confusion()
        np.fill_diagonal(counts, 0)
        order = np.argsort(-counts, axis=None, kind="stable")[:most]
        pairs = zip(*np.unravel_index(order, counts.shape), strict=True)
        return [(self.classes[i], self.classes[j], int(counts[i, j])) for i, j in pairs
                if counts[i, j]]  # fmt: skip

    def mistakes(self, most: int | None = None) -> np.ndarray:
        """The indices of wrong guesses; first those whose right class got the least probability."""
        if most is not None:
            check("Results.mistakes", "an int >= 1", most=most)
        wrong = np.flatnonzero(self.guesses != self.labels)
        given = self.probabilities[wrong, self.labels[wrong]]
        return wrong[np.argsort(given, kind="stable")][:most]

    def table(self) -> str:
        """A table as text: a row for each class, the means, and the most frequent mistakes."""
        rows = [[_text(row[name]) for name in BY_CLASS] for row in self._rows()]
        widths = [max(map(len, column)) for column in zip(BY_CLASS, *rows, strict=True)]
        lines = [
            "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:],
                                                                             strict=True))])
            for row in ([*BY_CLASS], *rows)
        ]  # fmt: skip
        confused = [f"  {a} called {b}: {count:,}" for a, b, count in self.most_confused()]
        return "\n".join([*lines, *(["", "most often confused:", *confused] if confused else [])])

    def _rows(self) -> list[dict[str, Any]]:
        """The rows of `by_class`, and the mean over the classes that occur.

        A class that no example has, and none was called, says nothing: as in scikit-learn's report
        its zeros do not count.
        """
        rows, counts = self.by_class(), self.confusion()
        occurs = counts.sum(0) + counts.sum(1) > 0
        columns = {name: np.array([row[name] for row in rows]) for name in BY_CLASS[1:4]}
        means = {n: float(x[occurs].mean() if occurs.any() else 0) for n, x in columns.items()}
        return [*rows, {"class": "mean", **means, "images": len(self.labels)}]

    def _repr_html_(self) -> str:
        rows = ([_text(row[name]) for name in BY_CLASS] for row in self._rows())
        return notebook.table(BY_CLASS, rows)

    def to_csv(self, path: PathLike) -> None:
        """Write a row for each example: image, label, guess, whether it is right, probabilities.

        Raises: CheckpointError where the file cannot be written.
        """
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(["image", "label", "guess", "right", *(f"p({c})" for c in self.classes)])
        names = self.paths or range(len(self.labels))
        every = zip(names, self.labels, self.guesses, self.probabilities, strict=True)
        for name, label, guess, given in every:
            right = "yes" if label == guess else "no"
            probabilities = (f"{p:.6g}" for p in given)
            rows.writerow([name, self.classes[label], self.classes[guess], right, *probabilities])
        write_text(path, text.getvalue())

    def plot(self, path: PathLike | None = None) -> Any:
        """A figure of the confusion matrix. path: a file to write it to."""
        from .. import plot

        return plot.confusion(self.confusion(), self.classes, path)

    def plot_mistakes(self, images: Any, path: PathLike | None = None, most: int = 25) -> Any:
        """The worst mistakes as a gallery, with label, guess and its probability.

        images: all examples (N, C, H, W) as they should be seen, in [0, 1]; or a Dataset of them.
        path: a file to write the figure to.
        """
        from .. import plot

        data = images if isinstance(images, Dataset) else np.asarray(images)
        if len(data) != len(self.labels) or len(data.shape) != 4:
            raise DataError(
                f"Results.plot_mistakes: expected images ({len(self.labels)}, C, H, W), one for "
                f"each label, got {data.shape}"
            )
        rows, guesses = self.mistakes(most), self.guesses
        titles = [
            f"{self.classes[self.labels[i]]}\n→ {self.classes[guesses[i]]}, "
            f"{self.probabilities[i, guesses[i]]:.0%}"
            for i in rows
        ]
        wrong = int((guesses != self.labels).sum())
        about = f"{len(rows)} of {wrong:,} mistakes among {len(self.labels):,}, the worst first"
        images = data.rows(rows) if isinstance(data, Dataset) else data[rows]
        return plot.gallery(images, titles, about, path)


def _share(some: np.ndarray, of: np.ndarray) -> np.ndarray:
    return np.divide(some, of, out=np.zeros(len(of)), where=of > 0)


def _text(cell: Any) -> str:
    return f"{cell:.4f}" if isinstance(cell, float) else f"{cell:,}" if cell != str(cell) else cell
