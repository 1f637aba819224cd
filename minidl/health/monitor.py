"""GradientMonitor: the health of every layer at every step, while a model trains."""

import csv
import io
import os
from array import array
from collections.abc import Callable
from functools import partial
from math import inf, isfinite, nan, sqrt
from typing import Any

import numpy as np

from .. import nn
from ..checks import check
from ..device import Array, array_module, is_host, read, to_host
from ..errors import ConfigError
from ..modes import is_recording
from ..nn import Module
from ..norms import global_l2, quick_l2, rms
from ..tensor import Tensor
from ..train.team import Team
from . import theory
from .probe import examining
from .report import write_text

_silent = np.errstate(over="ignore", invalid="ignore")

FIELDS = (
    *("step", "layer", "activation", "gradient", "weight", "weight_gradient", "update", "ratio"),
    *("dead", "clipped", "nan", "inf"),
)
# The numbers stored for each layer and step; the other columns are computed from them.
# "clipped_gradient" is the norm of the weights' gradient after clipping.
_STORED = (
    *("activation", "gradient", "weight", "weight_gradient", "clipped_gradient", "update"),
    *("dead", "nan", "inf"),
)


class GradientMonitor:
    """Records the sizes of signal, gradient, weights and update at every step of a training.

    Each Dense and convolution layer gets a row per step. Its columns:
    - step, layer: the number of the step, and the layer's path in the model;
    - activation, gradient: root mean squares of the layer's output and of the loss's gradient by
      it, in the last forward pass before the update;
    - dead: share of the layer's units whose output is above 0 for no image of that pass;
    - weight, weight_gradient, update: L2 norms; that of the gradient is taken before clipping;
    - ratio: ‖update‖/‖weight‖;
    - clipped: share of the gradient's norm that clipping took away;
    - nan, inf: how many values of the weights' gradient are NaN, and how many are infinite.
    A number that could not be seen is NaN: the signal of a frozen layer, or the update of a step at
    which the training failed.
    Give the monitor to a Trainer (`monitors=[monitor]`). In a loop of your own call
    `before_update()` after `backward()`, and `after_update()` after `optimizer.step()`. `detach()`
    takes it off the model. A copied or unpickled monitor keeps its rows and watches nothing.
    sample: to make watching cheap, a convolution's activation, gradient and dead come from about
    `sample` rows of pixels in each of the first 8·sample images. A Dense layer is seen whole. Where
    several processes share a batch, each looks at the first images of its own share, and the
    numbers are those of all processes.
    Numerics: no norm overflows. A watched convolution runs by itself, so that its output
    can be seen, and not as one kernel with the pooling behind it. This changes results by rounding
    alone, but takes time: on the CPU a step of the article's CNN takes about 1.7 times as long
    (docs/benchmarks.md, "minidl monitor"). Where nothing is pooled, watching costs little.
    Raises: ConfigError unless model is a Module and sample >= 1.
    """

    def __init__(self, model: Module, *, sample: int = 4) -> None:
        if not isinstance(model, Module):
            got = type(model).__name__
            raise ConfigError(f"GradientMonitor: expected an nn.Module, got {got}")
        check("GradientMonitor", "an int >= 1", sample=sample)
        self._steps, self._values = array("q"), array("d")
        self.sample, self.step = int(sample), 0
        self._team: Team | None = None
        self.layers = {
            name or type(layer).__name__: layer
            for name, layer in model.named_modules()
            if isinstance(layer, nn.Dense | nn.Conv2d)
        }
        self.names = list(self.layers)
        self._gains: list[float] = []
        self._seen: dict[str, dict[str, Any]] = {}
        self._before: dict[str, list[tuple[Any, Array]]] = {}
        self._handles = [
            layer.register_forward_hook(partial(self._look, name), in_graphs=self._recorded)
            for name, layer in self.layers.items()
        ]

    def detach(self) -> None:
        """Take the monitor off the model. A second call does nothing."""
        for handle in self._handles:
            handle.remove()

    def __getstate__(self) -> dict[str, Any]:
        """The rows without the model, for copies."""
        return vars(self) | {
            "layers": {},
            "_handles": [],
            "_seen": {},
            "_before": {},
            "_team": None,
        }

    def __repr__(self) -> str:
        return f"GradientMonitor({len(self.names)} layers, {len(self._steps)} steps)"

    @_silent
    def _look(self, name: str, layer: Module, inputs: Any, y: Tensor) -> None:
        """Note the size of a layer's output now, and of its gradient once that arrives."""
        # After a step that failed the Trainer computes its batch again: the row is noted already.
        if (
            examining.get()
            or self._before
            or not (layer.training and is_recording() and y.requires_grad)
        ):
            return
        part = self._part(layer, y.data)
        if not part.size:
            return
        units = 1 if isinstance(layer, nn.Conv2d) else part.ndim - 1
        highest = part.max(tuple(axis for axis in range(part.ndim) if axis != units))
        dead = array_module(part).count_nonzero(highest <= 0) / highest.size
        seen = self._seen[name] = {"activation": _rms(part), "dead": dead}
        if self._team is not None:
            seen |= {"images": len(y), "alive": to_host(highest) > 0}
        y.register_hook(lambda g: seen.update(gradient=_rms(self._part(layer, g.data))))

    def _part(self, layer: Module, y: Array) -> Array:
        """The part of an output that is looked at: all of a Dense layer's; of a convolution's some
        rows of pixels of the first images.
        """
        if not isinstance(layer, nn.Conv2d):
            return y
        step = max(-(-y.shape[2] // self.sample), 1)
        # On the CPU a pixel's values for all images are neighbours in memory: 8·sample images cost
        # little more than one.
        return y[: 8 * self.sample, :, step // 2 :: step]

    @_silent
    def before_update(self, trainer: Any = None, step: int | None = None) -> None:
        """Note weights and gradients, between `backward` and the optimizer's step.

        trainer: not used. step: the step's number; None counts on from the last.
        """
        self.step = self.step if step is None else step
        if not self._steps:
            self._gains = [
                sqrt(theory.fan_in(layer) / 2) * rms(layer.weight.data)
                for layer in self.layers.values()
            ]
        for name, layer in self.layers.items():
            weights = [w for n, w in layer._members(nn.Parameter) if n.startswith("weight")]
            seen = self._seen.setdefault(name, {})
            self._before[name] = [(w, w.data.copy(order="K")) for w in weights]
            gradients = [w.grad.data for w in weights if w.grad is not None]
            seen["weight"] = global_l2(w.data for w in weights)
            seen["weight_gradient"] = norm = global_l2(gradients)
            # On a GPU, asking whether the norm is finite would wait for it.
            finite = not gradients or (is_host(gradients[0]) and isfinite(norm))
            for kind in ("nan", "inf"):
                counts = (getattr(array_module(g), f"is{kind}")(g).sum() for g in gradients)
                seen[kind] = 0.0 if finite else sum(counts)

    @_silent
    def after_update(self, trainer: Any = None, step: int | None = None) -> None:
        """Note the change of the weights after the optimizer's step, and write a row per layer.

        trainer: gives the clip; None means that the gradients may have been clipped. step: not
        used. Raises: ConfigError where `before_update` was not called since the last row.
        """
        if self.names and not self._before:
            raise ConfigError(
                "GradientMonitor.after_update: expected before_update() between backward() and the "
                "optimizer's step; nothing was noted there since the last step"
            )
        clipping = trainer is None or trainer.clip is not None
        for name, before in self._before.items():
            seen = self._seen[name]
            for w, old in before:
                old -= w.data
            seen["update"] = global_l2(change for _, change in before)
            seen["clipped_gradient"] = seen["weight_gradient"]
            kept = [w.grad.data for w, _ in before if w.grad is not None]
            if clipping:
                seen["clipped_gradient"] = global_l2(kept) if kept else nan
        self._write()

    def start(self, trainer: Any) -> None:
        """Note, as training begins, whether other processes have a part of each batch."""
        self._team = trainer.team if trainer.team.size > 1 else None

    def _recorded(self) -> Callable[[], None]:
        """What to call after each launch of a graph in which these hooks were recorded.

        A launch writes new numbers into the same arrays on the GPU, so these are noted again.
        """
        arrays = {name: dict(seen) for name, seen in self._seen.items()}

        def note_again() -> None:
            self._seen = {name: dict(seen) for name, seen in arrays.items()}

        return note_again

    def finish(self, trainer: Any = None) -> None:
        """Write the rows of a last step whose update never came, as training ends."""
        if self._before:
            self._write()

    def _write(self) -> None:
        seen = [self._seen.get(name, {}) for name in self.names]
        self._steps.append(self.step)
        values = read([found.get(what, nan) for found in seen for what in _STORED])
        self._values.extend(values if self._team is None else self._joined(values, seen))
        self._before, self._seen = {}, {}
        self.step += 1

    def _joined(self, values: list[float], seen: list[dict[str, Any]]) -> list[float]:
        """The layers' numbers over the images of all processes.

        Mean squares are weighted by each process's number of images. A unit is dead where its
        output is above 0 in no process. Weights and their gradients are the same in all processes.
        """
        assert self._team is not None
        own = np.reshape(values, (len(seen), len(_STORED)))
        parts = self._team.all([(own, [(f.get("images"), f.get("alive")) for f in seen])])
        for at, layer in enumerate(zip(*(looked for _, looked in parts), strict=True)):
            images, alive = zip(*layer, strict=True)
            if None in images:  # a frozen layer shows nothing
                continue
            for column in (_STORED.index("activation"), _STORED.index("gradient")):
                squares = [numbers[at, column] ** 2 for numbers, _ in parts]
                own[at, column] = np.average(squares, weights=images) ** 0.5
            own[at, _STORED.index("dead")] = 1 - np.logical_or.reduce(alive).mean()
        return own.ravel().tolist()

    def _columns(self) -> dict[str, np.ndarray]:
        """Every column but the layers' names, as arrays of shape (steps, layers)."""
        steps, layers = len(self._steps), len(self.names)
        stored = np.array(self._values).reshape(steps, layers, len(_STORED))
        found = {name: stored[..., i] for i, name in enumerate(_STORED)}
        found["step"] = np.repeat(np.array(self._steps)[:, None], layers, axis=1)
        weight, update = found["weight"], found["update"]
        raw, left = found["weight_gradient"], found.pop("clipped_gradient")
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            found["ratio"] = np.where(update == 0, 0.0, update / weight)
            clipped = np.where((raw > 0) & (raw < inf), np.maximum(0, 1 - left / raw), 0.0)
        found["clipped"] = np.where(np.isnan(left), nan, clipped)
        return found

    @property
    def rows(self) -> list[dict[str, Any]]:
        """A dictionary per step and layer; its keys are the names of the columns."""
        columns = self._columns()
        names = self.names * len(self._steps)
        values = (names if f == "layer" else columns[f].ravel().tolist() for f in FIELDS)
        return [dict(zip(FIELDS, row, strict=True)) for row in zip(*values, strict=True)]

    def column(self, name: str) -> np.ndarray:
        """One column as an array of shape (layers, steps). Raises: ConfigError for another name."""
        if name not in FIELDS or name == "layer":
            raise ConfigError(
                f"GradientMonitor.column: expected one of "
                f"{', '.join(f for f in FIELDS if f != 'layer')}, got {name!r}"
            )
        return self._columns()[name].T

    def growth(self) -> tuple[np.ndarray, np.ndarray]:
        """(measured, predicted) growth of the activation from layer to layer, at the first step.

        Predicted: √(fan_in·E w²/2), the growth where a ReLU stands between the layers.
        Shapes: (layers - 1,). Raises: ConfigError before the first step.
        """
        if not self._steps:
            raise ConfigError("GradientMonitor: it saw no steps; train first")
        signal = self.column("activation")[:, 0]
        with np.errstate(invalid="ignore", over="ignore"):
            measured = signal[1:] / np.where(signal[:-1] > 0, signal[:-1], np.nan)
        return measured, np.array(self._gains[1:])

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write a row per step and layer, the columns named in the first line.

        Raises: ConfigError where the file cannot be written.
        """
        text = io.StringIO()
        writer = csv.DictWriter(text, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_text("GradientMonitor.to_csv", path, text.getvalue())

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """The figure of log₁₀ gradient by layer and step, growth, update ratio and clipping.

        path: a file to write it to.
        Raises: ConfigError before the first step, or where the file cannot be written.
        """
        from .. import plot

        measured, predicted = self.growth()
        gradient = self.column("gradient")
        lost = (self.column("nan") + self.column("inf") > 0) | np.isinf(gradient)
        ratio, clipped = self.column("ratio"), self.column("clipped")
        return plot.monitor(self.names, gradient, lost, measured, predicted, ratio, clipped, path)


def _rms(array: Array) -> Any:
    """The root mean square; on a GPU it stays there, so that the host need not wait."""
    return quick_l2(array) / array.size**0.5
