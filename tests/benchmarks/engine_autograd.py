"""autograd, written as its own example convnet: signal.convolve, pooling by reshape."""

from collections.abc import Callable
from importlib.metadata import version

import autograd.numpy as np
from autograd import value_and_grad
from autograd.scipy.signal import convolve
from cases import RATE, Problem

VERSION = version("autograd")


class Autograd:
    def __init__(self, problem: Problem, variant: str) -> None:
        self.problem = problem
        self.weights = dict(problem.weights)
        self._gradient = value_and_grad(self._loss)

    def _loss(self, w: dict, x, labels):
        for layer in self.problem.layers:
            kind, name = layer["kind"], layer.get("name")
            if kind == "conv":
                pad = (layer["padding"],) * 2
                x = np.pad(x, ((0, 0), (0, 0), pad, pad), "constant")
                kernel = np.transpose(w[f"{name}.weight"], (1, 0, 2, 3))[:, :, ::-1, ::-1]
                x = convolve(x, kernel, axes=([2, 3], [2, 3]), dot_axes=([1], [0]), mode="valid")
                x = x + np.reshape(w[f"{name}.bias"], (1, -1, 1, 1))
            elif kind == "dense":
                x = np.dot(x, np.transpose(w[f"{name}.weight"])) + w[f"{name}.bias"]
            elif kind == "pool":
                n, c, h, width = x.shape
                k = layer["size"]
                x = np.max(np.reshape(x, (n, c, h // k, k, width // k, k)), axis=(3, 5))
            else:
                x = np.maximum(x, 0) if kind == "relu" else np.reshape(x, (len(x), -1))
        x = x - np.max(x, axis=1, keepdims=True)
        logs = x - np.log(np.sum(np.exp(x), axis=1, keepdims=True))
        return -np.mean(logs[np.arange(len(labels)), labels])

    def step(self, i: int) -> float:
        i %= len(self.problem.images)
        loss, grads = self._gradient(self.weights, self.problem.images[i], self.problem.labels[i])
        self.weights = {n: w - RATE * grads[n] for n, w in self.weights.items()}
        return float(loss)

    def ready(self, n: int) -> Callable[[], object]:
        return lambda: [self.step(i) for i in range(n)]


make = Autograd
