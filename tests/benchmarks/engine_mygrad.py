"""MyGrad, with the layers of its own `mygrad.nnet`."""

from collections.abc import Callable

import mygrad as mg
from cases import RATE, Problem
from mygrad.nnet.activations import relu
from mygrad.nnet.layers import conv_nd, max_pool
from mygrad.nnet.losses import softmax_crossentropy

VERSION = mg.__version__


class MyGrad:
    def __init__(self, problem: Problem, variant: str) -> None:
        self.problem = problem
        self.weights = {n: mg.tensor(a.copy()) for n, a in problem.weights.items()}

    def _apply(self, x):
        w = self.weights
        for layer in self.problem.layers:
            kind, name = layer["kind"], layer.get("name")
            if kind == "conv":
                x = conv_nd(x, w[f"{name}.weight"], stride=1, padding=layer["padding"])
                x = x + w[f"{name}.bias"].reshape(1, -1, 1, 1)
            elif kind == "dense":
                x = mg.matmul(x, w[f"{name}.weight"].T) + w[f"{name}.bias"]
            elif kind == "pool":
                x = max_pool(x, (layer["size"],) * 2, layer["size"])
            else:
                x = relu(x) if kind == "relu" else x.reshape(len(x), -1)
        return x

    def step(self, i: int) -> float:
        i %= len(self.problem.images)
        loss = softmax_crossentropy(self._apply(self.problem.images[i]), self.problem.labels[i])
        loss.backward()
        for weight in self.weights.values():
            weight.data -= RATE * weight.grad
        return loss.item()

    def ready(self, n: int) -> Callable[[], object]:
        return lambda: [self.step(i) for i in range(n)]


make = MyGrad
