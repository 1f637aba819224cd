"""GradientMonitor: the health of every layer at every step, while a model trains."""

import csv
import os
from math import sqrt
from typing import Any

import numpy as np

from .. import nn
from ..backend import Array, array_module, to_host
from ..graph import is_recording, record
from ..nn import Module
from ..tensor import Tensor
from . import theory
from .probe import scale

FIELDS = (
    *("step", "layer", "activation", "gradient", "weight", "weight_gradient", "update", "ratio"),
    *("dead", "clipped", "nan", "inf"),
)


class GradientMonitor:
    """Records, per weighted layer and step, how large signal, gradient and update are.

    Columns: activation and gradient, root mean squares at the layer's output (of images, of as
    many values as `sample` images have); weight, weight_gradient (before clipping), update: L2
    norms; ratio: ‖update‖/‖weight‖; dead: share of units never above 0 in those values; clipped:
    share of the gradient's norm that clipping took away; nan, inf: counts in the weights' gradient.
    Give it to a Trainer (`monitors=[monitor]`), or in a loop of your own call `before_update()`
    after `backward()` and `after_update()` after `optimizer.step()`. `detach()` takes it off.
    Numerics: no norm overflows. The scales are of a sample, so that watching costs little.
    """

    def __init__(self, model: Module, *, sample: int = 8) -> None:
        self.rows: list[dict[str, Any]] = []
        self.sample = sample
        self.step = 0
        self.layers = {
            name or type(layer).__name__: layer
            for name, layer in model.named_modules()
            if isinstance(layer, nn.Dense | nn.Conv2d)
        }
        self._gains = [
            sqrt(theory.fan_in(layer) / 2) * scale(layer.weight.data)
            for layer in self.layers.values()
        ]
        self._seen: dict[str, dict[str, Any]] = {}
        self._before: dict[str, Array] = {}
        self._hooks = {name: self._hook(name) for name in self.layers}
        for name, layer in self.layers.items():
            layer.hooks.append(self._hooks[name])

    def detach(self) -> None:
        """Take the monitor off the model."""
        for name, layer in self.layers.items():
            layer.hooks.remove(self._hooks[name])

    def _hook(self, name: str) -> Any:
        def look(module: Module, y: Tensor) -> Tensor | None:
            if not (module.training and is_recording() and y.requires_grad):
                return None
            part = self._some(y.data)
            highest = part.max((0, *range(2, y.ndim)))
            seen = self._seen[name] = {
                "activation": _quick(part) / max(part.size, 1) ** 0.5,
                "dead": float((highest <= 0).mean()),
            }

            def passing(g: Tensor, _: Tensor) -> Tensor:
                part = self._some(g.data)
                seen["gradient"] = _quick(part) / max(part.size, 1) ** 0.5
                return g

            return record(y.data, (y, passing), name=type(module).__name__)

        return look

    def _some(self, y: Array) -> Array:
        if y.ndim != 4:
            return y
        # A row of all images is one piece of memory on the CPU, one image is scattered over all.
        return y[:, :, :: max(len(y) // self.sample, 1)]

    def before_update(self, trainer: Any = None, step: int | None = None) -> None:
        """Between `backward` and the optimizer's step: look at weights and gradients."""
        self.step = self.step if step is None else step
        for name, layer in self.layers.items():
            weights = _weights(layer)
            seen = self._seen.setdefault(name, {})
            self._before = self._before | {name: [w.data.copy() for w in weights]}
            gradients = [w.grad.data for w in weights if w.grad is not None]
            seen["weight"] = _norm([w.data for w in weights])
            seen["weight_gradient"] = _norm(gradients)
            if not np.isfinite(seen["weight_gradient"]):
                seen["nan"] = sum(int(np.isnan(to_host(g)).sum()) for g in gradients)
                seen["inf"] = sum(int(np.isinf(to_host(g)).sum()) for g in gradients)

    def after_update(self, trainer: Any = None, step: int | None = None) -> None:
        """After the optimizer's step: look at what it did, and write the step's rows."""
        for name, layer in self.layers.items():
            weights, seen = _weights(layer), self._seen.pop(name, {})
            pairs = zip(weights, self._before.get(name, []), strict=False)
            update = _norm([w.data - old for w, old in pairs])
            weight, raw = seen.get("weight", 0.0), seen.get("weight_gradient", 0.0)
            left = _norm([w.grad.data for w in weights if w.grad is not None])
            row = dict.fromkeys(FIELDS, 0.0) | {"gradient": float("nan")} | seen
            row |= {"step": self.step, "layer": name, "update": update}
            row["ratio"] = update / weight if weight else float("inf") if update else 0.0
            row["clipped"] = max(0.0, 1 - left / raw) if 0 < raw < float("inf") else 0.0
            self.rows.append(row)
        self._before = {}
        self.step += 1

    def column(self, name: str) -> np.ndarray:
        """One column as an array of shape (layers, steps)."""
        values = np.array([row[name] for row in self.rows], dtype=float)
        return values.reshape(-1, len(self.layers)).T

    def growth(self) -> tuple[np.ndarray, np.ndarray]:
        """(measured, predicted) growth of the activation from layer to layer, at the first step.

        Predicted: √(fan_in·E w²·E φ(z)²/E z²) for ReLU between the layers; shapes (layers - 1,).
        """
        signal = self.column("activation")[:, 0]
        measured = signal[1:] / np.where(signal[:-1] > 0, signal[:-1], np.nan)
        return measured, np.array(self._gains[1:])

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write a row per step and layer, the columns named in the first line."""
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, FIELDS)
            writer.writeheader()
            writer.writerows(self.rows)

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draw log₁₀ gradient by layer and step, the growth beside theory, and the update ratio."""
        from .. import plot

        measured, predicted = self.growth()
        plot.monitor(
            list(self.layers),
            self.column("gradient"),
            measured,
            predicted,
            self.column("ratio"),
            path,
        )


def _weights(layer: Module) -> list[Any]:
    return [p for n, p in vars(layer).items() if n.startswith("weight")]


def _quick(array: Array) -> float:
    """The L2 norm: one dot product, taken again with care where that is not finite or is 0."""
    flat = array.ravel(order="K")
    with np.errstate(over="ignore", invalid="ignore"):
        square = float(array_module(flat).dot(flat, flat))
    if 1e-30 < square < float("inf"):
        return square**0.5
    return scale(array) * array.size**0.5


def _norm(arrays: list[Array]) -> float:
    return float(np.hypot.reduce([_quick(a) for a in arrays])) if arrays else 0.0
