"""DeZero, with its own functions and its SGD."""

from collections.abc import Callable
from importlib.metadata import version

import numpy as np

np.int = int  # type: ignore[attr-defined]  # DeZero is older than the end of this name

import dezero.functions as F
from cases import RATE, Problem
from dezero import Parameter

VERSION = version("dezero")


class DeZero:
    def __init__(self, problem: Problem, variant: str) -> None:
        self.problem = problem
        self.weights = {n: Parameter(a.copy()) for n, a in problem.weights.items()}

    def _apply(self, x):
        w = self.weights
        for layer in self.problem.layers:
            kind, name = layer["kind"], layer.get("name")
            if kind == "conv":
                x = F.conv2d(x, w[f"{name}.weight"], w[f"{name}.bias"], 1, layer["padding"])
            elif kind == "dense":
                x = F.linear(x, F.transpose(w[f"{name}.weight"]), w[f"{name}.bias"])
            elif kind == "pool":
                x = F.pooling(x, layer["size"], layer["size"])
            elif kind == "relu":
                x = F.relu(x)
            else:
                x = F.reshape(x, (x.shape[0], -1))
        return x

    def step(self, i: int) -> float:
        i %= len(self.problem.images)
        loss = F.softmax_cross_entropy(self._apply(self.problem.images[i]), self.problem.labels[i])
        for weight in self.weights.values():
            weight.cleargrad()
        loss.backward()
        for weight in self.weights.values():
            weight.data -= np.float32(RATE) * weight.grad.data
        return float(loss.data)

    def ready(self, n: int) -> Callable[[], object]:
        return lambda: [self.step(i) for i in range(n)]


make = DeZero
