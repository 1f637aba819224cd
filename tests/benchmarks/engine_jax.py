"""JAX: the whole step under one jit, images as (N, H, W, C)."""

import os
from collections.abc import Callable

os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import jax.numpy as jnp
import numpy as np
from cases import RATE, Problem
from jax import lax

VERSION = jax.__version__
EPS, MOMENTUM = 1e-5, 0.1


class Jax:
    def __init__(self, problem: Problem, variant: str) -> None:
        self.problem = problem
        trained, self.kept = {}, {}
        for name, array in problem.weights.items():
            if "running_" in name:
                self.kept[name] = jnp.asarray(array)
            elif "num_batches" not in name:
                trained[name] = jnp.asarray(
                    array.transpose(2, 3, 1, 0) if array.ndim == 4 else array
                )
        self.weights = trained
        self.batches = [
            (jnp.asarray(x.transpose(0, 2, 3, 1)), jnp.asarray(y))
            for x, y in zip(problem.images, problem.labels, strict=True)
        ]
        self._update = jax.jit(self._train, donate_argnums=(0, 1))
        self._infer = jax.jit(lambda w, kept, x: self._apply(problem.layers, w, kept, x)[0])

    def _apply(self, layers: list, w: dict, kept: dict, x):
        for layer in layers:
            kind, name = layer["kind"], layer.get("name")
            if kind == "residual":
                y, kept = self._apply(layer["branch"], w, kept, x)
                x, kept = self._apply(layer["shortcut"] or [], w, kept, x)
                x = x + y
            elif kind == "conv":
                pads = [(layer["padding"],) * 2] * 2
                steps, axes = (layer["stride"],) * 2, ("NHWC", "HWIO", "NHWC")
                x = lax.conv_general_dilated(
                    x, w[f"{name}.weight"], steps, pads, dimension_numbers=axes
                )
                x = x + w[f"{name}.bias"] if f"{name}.bias" in w else x
            elif kind == "dense":
                x = x @ w[f"{name}.weight"].T + w[f"{name}.bias"]
            elif kind == "norm":
                x, kept = self._norm(name, w, kept, x)
            elif kind == "relu":
                x = jnp.maximum(x, 0)
            elif kind == "pool":
                size = (1, layer["size"], layer["size"], 1)
                x = lax.reduce_window(x, -jnp.inf, lax.max, size, size, "VALID")
            elif kind == "mean":
                x = x.mean((1, 2))
            elif kind == "flatten":
                x = x.transpose(0, 3, 1, 2) if x.ndim == 4 else x  # the weights' order
                x = x.reshape(len(x), -1)
        return x, kept

    def _norm(self, name: str, w: dict, kept: dict, x):
        mean, var = kept[f"{name}.running_mean"], kept[f"{name}.running_var"]
        if self.problem.train:
            now, spread = x.mean((0, 1, 2)), x.var((0, 1, 2))
            n = x.size / x.shape[-1]
            kept = kept | {
                f"{name}.running_mean": (1 - MOMENTUM) * mean + MOMENTUM * now,
                f"{name}.running_var": (1 - MOMENTUM) * var + MOMENTUM * spread * n / (n - 1),
            }
            mean, var = now, spread
        x = (x - mean) * lax.rsqrt(var + EPS)
        return x * w[f"{name}.weight"] + w[f"{name}.bias"], kept

    def _train(self, w: dict, kept: dict, x, labels):
        def loss(w):
            logits, after = self._apply(self.problem.layers, w, kept, x)
            chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], 1)
            return -chosen.mean(), after

        (value, after), grads = jax.value_and_grad(loss, has_aux=True)(w)
        return jax.tree.map(lambda p, g: p - RATE * g, w, grads), after, value

    def step(self, i: int) -> float:
        x, labels = self.batches[i % len(self.batches)]
        self.weights, self.kept, loss = self._update(self.weights, self.kept, x, labels)
        return float(loss)

    def answer(self, i: int) -> np.ndarray:
        return np.asarray(
            self._infer(self.weights, self.kept, self.batches[i % len(self.batches)][0])
        )

    def ready(self, n: int) -> Callable[[], object]:
        act = self.step if self.problem.train else self.answer
        return lambda: [act(i) for i in range(n)]


make = Jax
