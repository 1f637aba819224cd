"""GradientMonitor: the health of every layer at every step, while a model trains."""

import csv
import io
import os
from array import array
from math import hypot, inf, isfinite, nan, prod, sqrt
from typing import Any

import numpy as np

from .. import kernels, nn
from ..device import Array, array_module, is_host, read
from ..errors import ConfigError
from ..modes import is_recording
from ..nn import Module
from ..ops.elementwise import keep_where
from ..tensor import Tensor, as_tensor, record
from . import theory
from .probe import scale
from .report import write_text

_silent = np.errstate(over="ignore", invalid="ignore")  # what overflows is measured again

FIELDS = (
    *("step", "layer", "activation", "gradient", "weight", "weight_gradient", "update", "ratio"),
    *("dead", "clipped", "nan", "inf"),
)

# What a step takes of a layer, with the value where there was nothing to take.
_TAKEN = (
    *(("activation", nan), ("gradient", nan), ("weight", nan), ("weight_gradient", nan)),
    *(("update", nan), ("dead", nan), ("nan", nan), ("inf", nan), ("left", nan)),
)


class GradientMonitor:
    """Records, per weighted layer and step, how large signal, gradient and update are.

    Columns: activation and gradient, root mean squares at the layer's output (of images, at
    `sample` rows of each of the first 8·`sample`; where convolution and pooling run as one, whose
    pooled output is all that is kept, of `sample` images); weight, weight_gradient (before
    clipping), update: L2 norms; ratio: ‖update‖/‖weight‖; dead: share of units never above 0 in
    those values; clipped: share of the gradient's norm that clipping took away; nan, inf: counts
    in the weights' gradient. The first two and dead are of the layer's last call before the update;
    what a step did not show (a frozen layer's signal, the update after which it failed) is NaN.
    Give it to a Trainer (`monitors=[monitor]`), or in a loop of your own call `before_update()`
    after `backward()` and `after_update()` after `optimizer.step()`. `detach()` takes it off.
    Numerics: no norm overflows. The scales are of a sample, so that watching costs little.
    """

    def __init__(self, model: Module, *, sample: int = 4) -> None:
        if not isinstance(model, Module) or type(sample) is not int or sample < 1:
            raise ConfigError(
                f"GradientMonitor: expected an nn.Module and sample as an int >= 1, got "
                f"{type(model).__name__} and {sample!r}"
            )
        self._steps, self._taken = array("q"), array("d")
        self.sample, self.step = sample, 0
        self.layers = {
            name or type(layer).__name__: layer
            for name, layer in model.named_modules()
            if isinstance(layer, nn.Dense | nn.Conv2d)
        }
        self._gains: list[float] = []
        self._seen: dict[str, dict[str, Any]] = {}
        self._before: dict[str, list[tuple[Any, Array]]] = {}
        self._hooks = {name: _Look(self, name) for name in self.layers}
        for name, layer in self.layers.items():
            layer.hooks.append(self._hooks[name])

    def detach(self) -> None:
        """Take the monitor off the model; once more does nothing."""
        for name, layer in self.layers.items():
            layer.hooks = [hook for hook in layer.hooks if hook is not self._hooks[name]]

    @_silent
    def watch(
        self, name: str, y: Tensor, signal: Any, share: float = 1.0, rectified: bool = False
    ) -> Tensor | None:
        """Note the scale of a layer's output, by `signal()`, and of its gradient.

        share: of the output's values that are in y, where y was pooled; the rest have gradient 0,
        and where y was rectified, those at which it is 0.
        """
        layer = self.layers[name]
        kept = self.some(layer, y.data)
        if not (layer.training and is_recording() and y.requires_grad and kept.size):
            return None
        units = 1 if isinstance(layer, nn.Conv2d) else kept.ndim - 1
        highest = kept.max(tuple(axis for axis in range(kept.ndim) if axis != units))
        dead = y._module.count_nonzero(highest <= 0) / highest.size
        seen = self._seen[name] = {"activation": signal(), "dead": dead}

        def passing(g: Tensor, y: Tensor) -> Tensor:
            part = Tensor(self.some(layer, g.data))
            if rectified:
                part = keep_where(part, self.some(layer, y.data) > 0)
            seen["gradient"] = _rms(part.data) * share**0.5
            return g

        return record(y.data, (y, passing), name=type(layer).__name__)

    def some(self, layer: Module, y: Array) -> Array:
        """A part of an output: all of it, but of images some rows of the first ones."""
        if not isinstance(layer, nn.Conv2d):
            return y
        # A row's neighbours in memory are the other images, on the CPU: many cost as few do.
        return y[: 8 * self.sample, :, self.spread(y.shape[2])]

    def spread(self, count: int) -> slice:
        """At most `sample` places of count, evenly spread."""
        step = max(-(-count // self.sample), 1)
        return slice(step // 2, None, step)

    @_silent
    def before_update(self, trainer: Any = None, step: int | None = None) -> None:
        """Between `backward` and the optimizer's step: look at weights and gradients."""
        self.step = self.step if step is None else step
        if not self._steps:
            self._gains = [
                sqrt(theory.fan_in(layer) / 2) * scale(layer.weight.data)
                for layer in self.layers.values()
            ]
        for name, layer in self.layers.items():
            weights = [w for n, w in layer._members(nn.Parameter) if n.startswith("weight")]
            seen = self._seen.setdefault(name, {})
            self._before[name] = [(w, w.data.copy(order="K")) for w in weights]
            gradients = [w.grad.data for w in weights if w.grad is not None]
            seen["weight"] = _norm([w.data for w in weights])
            seen["weight_gradient"] = norm = _norm(gradients)
            # On a GPU, asking whether the norm is finite would wait for it.
            sound = not gradients or (is_host(gradients[0]) and isfinite(norm))
            for what in ("nan", "inf"):
                counts = (getattr(array_module(g), f"is{what}")(g).sum() for g in gradients)
                seen[what] = 0.0 if sound else sum(counts)

    @_silent
    def after_update(self, trainer: Any = None, step: int | None = None) -> None:
        """After the optimizer's step: look at what it did, and write a row per layer.

        Raises: ConfigError where `before_update` was not called since the last row.
        """
        if self.layers and not self._before:
            raise ConfigError(
                "GradientMonitor.after_update: expected before_update() between backward() and the "
                "optimizer's step; nothing was noted there since the last step"
            )
        clipping = trainer is None or trainer.clip is not None
        for name, before in self._before.items():
            seen = self._seen[name]
            for w, old in before:
                old -= w.data
            seen["update"] = _norm([change for _, change in before])
            seen["left"] = seen["weight_gradient"]
            kept = [w.grad.data for w, _ in before if w.grad is not None]
            if clipping:
                seen["left"] = _norm(kept) if kept else nan
        self._write()

    def finish(self, trainer: Any = None) -> None:
        """The end of training: write the rows of a step that no update followed."""
        if self._before:
            self._write()

    def _write(self) -> None:
        seen = (self._seen.get(name, {}) for name in self.layers)
        self._steps.append(self.step)
        self._taken.extend(read([found.get(*what) for found in seen for what in _TAKEN]))
        self._before, self._seen = {}, {}
        self.step += 1

    def _columns(self) -> dict[str, np.ndarray]:
        """Every column but the layers' names, as arrays of shape (steps, layers)."""
        steps, layers = len(self._steps), len(self.layers)
        taken = np.array(self._taken).reshape(steps, layers, len(_TAKEN))
        found = {name: taken[..., i] for i, (name, _) in enumerate(_TAKEN)}
        found["step"] = np.repeat(np.array(self._steps)[:, None], layers, axis=1)
        weight, update = found["weight"], found["update"]
        raw, left = found["weight_gradient"], found.pop("left")
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            found["ratio"] = np.where(update == 0, 0.0, update / weight)
            clipped = np.where((raw > 0) & (raw < inf), np.maximum(0, 1 - left / raw), 0.0)
        found["clipped"] = np.where(np.isnan(left), nan, clipped)
        return found

    @property
    def rows(self) -> list[dict[str, Any]]:
        """A dictionary per step and layer, by the names of the columns."""
        columns = self._columns()
        names = list(self.layers) * len(self._steps)
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

        Predicted: √(fan_in·E w²·E φ(z)²/E z²) for ReLU between the layers; shapes (layers - 1,).
        Raises: ConfigError before the first step.
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

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draw log₁₀ gradient by layer and step, growth beside theory, update ratio, clipping.

        Raises: ConfigError before the first step, or where the file cannot be written.
        """
        from .. import plot

        measured, predicted = self.growth()
        lost = self.column("nan") + self.column("inf") > 0
        plot.monitor(
            list(self.layers),
            self.column("gradient"),
            lost | np.isinf(self.column("gradient")),
            measured,
            predicted,
            self.column("ratio"),
            self.column("clipped"),
            path,
        )


class _Look:
    """The monitor's hook of one layer."""

    def __init__(self, monitor: GradientMonitor, name: str) -> None:
        self.monitor, self.name = monitor, name

    def __call__(self, layer: Module, y: Tensor) -> Tensor | None:
        return self.monitor.watch(self.name, y, lambda: _rms(self.monitor.some(layer, y.data)))

    def pooled(self, layer: Any, x: Any, y: Tensor, rectified: bool) -> Tensor | None:
        """After a convolution that was pooled at once: the scale of what was never written."""
        x, w = as_tensor(x).data, layer.weight.data
        options = {name: getattr(layer, name) for name in layer.options}
        groups, b = options.pop("groups"), None if layer.bias is None else layer.bias.data
        window = kernels.window("conv2d", x.shape[2:], w.shape[2:], **options)

        def signal() -> Any:
            look = self.monitor
            part = x[look.spread(len(x))].astype(y.dtype, copy=False)
            rows = look.spread(window.out[0])
            found = kernels.conv_scale(part, w, b, window, groups, rows)
            if found is None:
                found = _rms(look.some(layer, kernels.conv_forward(part, w, b, window, groups)))
            return found

        share = prod(y.shape[2:]) / prod(window.out)
        return self.monitor.watch(self.name, y, signal, share, rectified)


def _rms(array: Array) -> Any:
    return _quick(array) / max(array.size, 1) ** 0.5


def _quick(array: Array) -> Any:
    """The L2 norm: one dot product, taken again with care where that is not finite or is 0.

    On a GPU it stays there, and is taken in float64 at once: looking would wait.
    """
    flat = array.ravel(order="K")
    if not is_host(flat):
        wide = flat.astype(np.float64)
        return array_module(wide).sqrt(wide @ wide)
    square = float(np.dot(flat, flat))
    if 1e-30 < square < inf:
        return square**0.5
    return scale(array) * array.size**0.5


def _norm(arrays: list[Array]) -> Any:
    if arrays and not is_host(arrays[0]):
        return array_module(arrays[0]).sqrt(sum(_quick(a) ** 2 for a in arrays))
    return hypot(*(_quick(a) for a in arrays))
