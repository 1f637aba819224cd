"""tinygrad: the step under TinyJit, on its CPU device."""

import os
from collections.abc import Callable
from importlib.metadata import version

os.environ.setdefault("DEV", "CPU")  # which compiles with clang

from cases import RATE, Problem
from tinygrad import Context, Tensor, TinyJit
from tinygrad.nn.optim import SGD

VERSION = version("tinygrad")


class Tinygrad:
    def __init__(self, problem: Problem, variant: str) -> None:
        self.layers = problem.layers
        self.weights = {n: Tensor(a).realize() for n, a in problem.weights.items()}
        for weight in self.weights.values():
            weight.requires_grad = True
        self.optimizer = SGD(list(self.weights.values()), lr=RATE)
        self.batches = [
            (Tensor(x).realize(), Tensor(y.astype("int32")).realize())
            for x, y in zip(problem.images, problem.labels, strict=True)
        ]
        self._update = TinyJit(self._train)

    def _apply(self, x: Tensor) -> Tensor:
        w = self.weights
        for layer in self.layers:
            kind, name = layer["kind"], layer.get("name")
            if kind == "conv":
                x = x.conv2d(w[f"{name}.weight"], w[f"{name}.bias"], padding=layer["padding"])
            elif kind == "dense":
                x = x.linear(w[f"{name}.weight"].T, w[f"{name}.bias"])
            elif kind == "pool":
                x = x.max_pool2d((layer["size"],) * 2)
            else:
                x = x.relu() if kind == "relu" else x.flatten(1)
        return x

    def _train(self, x: Tensor, labels: Tensor) -> Tensor:
        self.optimizer.zero_grad()
        loss = self._apply(x).sparse_categorical_crossentropy(labels).backward()
        return loss.realize(*self.optimizer.schedule_step())

    def step(self, i: int) -> float:
        with Context(TRAINING=1):
            return self._update(*self.batches[i % len(self.batches)]).item()

    def ready(self, n: int) -> Callable[[], object]:
        return lambda: [self.step(i) for i in range(n)]


make = Tinygrad
