"""PyTorch, eager, in both memory formats."""

from collections.abc import Callable

import numpy as np
import torch
from cases import RATE, Problem
from torch import nn

VERSION = torch.__version__


class _Residual(nn.Module):
    def __init__(self, branch: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.branch, self.shortcut = branch, shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.shortcut(x) + self.branch(x)


class _Mean(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3))


class Torch:
    def __init__(self, problem: Problem, variant: str) -> None:
        self.problem = problem
        layout = torch.channels_last if variant == "channels_last" else torch.contiguous_format
        self.model = self._build(problem.layers).to(memory_format=layout)
        self.model.train(problem.train)
        self.optimizer = torch.optim.SGD(self.model.parameters(), RATE)
        self.loss = nn.CrossEntropyLoss()
        self.batches = [
            (torch.from_numpy(x).contiguous(memory_format=layout), torch.from_numpy(y))
            for x, y in zip(problem.images, problem.labels, strict=True)
        ]

    def _build(self, layers: list) -> nn.Module:
        return nn.Sequential(*(self._layer(layer) for layer in layers))

    def _layer(self, layer: dict) -> nn.Module:
        kind, weights = layer["kind"], self.problem.weights
        if kind == "residual":
            short = layer["shortcut"]
            shortcut = nn.Identity() if short is None else self._build(short)
            return _Residual(self._build(layer["branch"]), shortcut)
        if kind in ("relu", "flatten", "mean"):
            return {"relu": nn.ReLU, "flatten": nn.Flatten, "mean": _Mean}[kind]()
        if kind == "pool":
            return nn.MaxPool2d(layer["size"])
        weight = weights[f"{layer['name']}.weight"]
        bias = weights.get(f"{layer['name']}.bias")
        if kind == "dense":
            made: nn.Module = nn.Linear(weight.shape[1], weight.shape[0])
        elif kind == "norm":
            made = nn.BatchNorm2d(len(weight))
        else:
            out, inputs, *size = weight.shape
            made = nn.Conv2d(
                inputs, out, size, layer["stride"], layer["padding"], bias=bias is not None
            )
        with torch.no_grad():
            made.weight.copy_(torch.from_numpy(weight))
            if bias is not None:
                made.bias.copy_(torch.from_numpy(bias))
        return made

    def step(self, i: int) -> float:
        x, labels = self.batches[i % len(self.batches)]
        self.optimizer.zero_grad()
        loss = self.loss(self.model(x), labels)
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def answer(self, i: int) -> np.ndarray:
        with torch.no_grad():
            return self.model(self.batches[i % len(self.batches)][0]).numpy()

    def ready(self, n: int) -> Callable[[], object]:
        act = self.step if self.problem.train else self.answer
        return lambda: [act(i) for i in range(n)]


make = Torch
