"""Random expressions: graphs of operations with shared leaves, diamonds, views and broadcasting.

An expression is a list of steps; each makes a new value from earlier ones. It runs on tensors
(`on_tensors`) and, step by step in plain NumPy, on arrays (`on_arrays`): an independent value.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import ops
from ..tensor import Tensor

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Rule:
    """An operation twice: on tensors and on arrays, and the shapes that it takes."""

    tensor: Callable[..., Tensor]
    array: Callable[..., np.ndarray]
    inputs: int = 1
    fits: Callable[..., bool] = lambda *shapes: True


def _broadcast(a: Shape, b: Shape) -> bool:
    return all(m == n or 1 in (m, n) for m, n in zip(a[::-1], b[::-1], strict=False))


def _axes(least: int) -> Callable[..., bool]:
    return lambda shape: len(shape) >= least


def _softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x)
    return e / e.sum(-1, keepdims=True)


# Each keeps values of order 1, so that an expression of any depth stays smooth and finite.
RULES: dict[str, Rule] = {
    "sin": Rule(ops.sin, np.sin),
    "tanh": Rule(ops.tanh, np.tanh),
    "sigmoid": Rule(ops.sigmoid, lambda x: 1 / (1 + np.exp(-x))),
    "gauss": Rule(lambda x: ops.exp(-x * x), lambda x: np.exp(-(x**2))),
    "log1p": Rule(lambda x: ops.log(1.5 + ops.cos(x)), lambda x: np.log(1.5 + np.cos(x))),
    "add": Rule(lambda a, b: a + b * 0.5, lambda a, b: a + b / 2, 2, _broadcast),
    "subtract": Rule(lambda a, b: ops.sin(a - b), lambda a, b: np.sin(a - b), 2, _broadcast),
    "multiply": Rule(lambda a, b: ops.tanh(a * b), lambda a, b: np.tanh(a * b), 2, _broadcast),
    "divide": Rule(
        lambda a, b: a / (2.0 + ops.sin(b)), lambda a, b: a / (2 + np.sin(b)), 2, _broadcast
    ),
    "matmul": Rule(
        lambda a, b: ops.tanh(a @ b),
        lambda a, b: np.tanh(np.einsum("ij,jk->ik", a, b)),
        2,
        lambda a, b: len(a) == len(b) == 2 and a[1] == b[0],
    ),
    "softmax": Rule(ops.softmax, _softmax, fits=_axes(1)),
    "transpose": Rule(lambda x: x.T, np.transpose),
    "reverse": Rule(lambda x: x[::-1], lambda x: np.flip(x, 0), fits=_axes(1)),
    "first": Rule(lambda x: x[0], lambda x: np.take(x, 0, 0), fits=_axes(1)),
    "gather": Rule(
        lambda x: x[np.array([0, -1, 0])], lambda x: np.take(x, [0, -1, 0], 0), fits=_axes(1)
    ),
    "column": Rule(lambda x: x.reshape(-1, 1), lambda x: x.reshape(x.size, 1)),
    "mean": Rule(lambda x: x.mean(0), lambda x: np.add.reduce(x, 0) / len(x), fits=_axes(1)),
    "total": Rule(lambda x: ops.sin(x.sum()), lambda x: np.array(np.sin(np.sum(x)))),
    "grow": Rule(
        lambda x: ops.broadcast_to(x, 2, *x.shape),
        lambda x: np.stack([x, x]),
        fits=lambda shape: len(shape) < 3,
    ),
    "join": Rule(
        lambda a, b: ops.concatenate([a, b]),
        lambda a, b: np.concatenate([a, b]),
        2,
        lambda a, b: len(a) == len(b) > 0 and a[1:] == b[1:] and a[0] + b[0] < 9,
    ),
}


@dataclass(frozen=True)
class Expression:
    """A graph of operations. The leaves and the results of the steps are its values, in this order.

    leaves: their arrays. steps: (name of the rule, places of its inputs among the values).
    The result is the sum of all elements of every value that no step uses.
    """

    leaves: tuple[np.ndarray, ...]
    steps: tuple[tuple[str, tuple[int, ...]], ...]

    def on_tensors(self, *leaves: Any) -> Tensor:
        values: list[Any] = list(leaves)
        for name, places in self.steps:
            values.append(RULES[name].tensor(*(values[i] for i in places)))
        ends = [ops.sum(values[i]) for i in self._ends()]
        return sum(ends[1:], ends[0])

    def on_arrays(self, *leaves: np.ndarray) -> float:
        values = [np.asarray(x) for x in leaves]
        for name, places in self.steps:
            values.append(np.asarray(RULES[name].array(*(values[i] for i in places))))
        return float(sum(np.sum(values[i]) for i in self._ends()))

    def _ends(self) -> list[int]:
        used = {i for _, places in self.steps for i in places}
        return [i for i in range(len(self.leaves) + len(self.steps)) if i not in used]

    def __repr__(self) -> str:
        n = len(self.leaves)
        lines = [f"x{i} = leaf of shape {x.shape}" for i, x in enumerate(self.leaves)]
        lines += [
            f"x{n + k} = {name}({', '.join(f'x{i}' for i in places)})"
            for k, (name, places) in enumerate(self.steps)
        ]
        return "\n".join([*lines, f"result = Σ {', '.join(f'x{i}' for i in self._ends())}"])


def random_expression(steps: int, seed: int) -> Expression:
    """An expression of `steps` steps over one to three small leaves."""
    rng = np.random.default_rng(seed)
    choices: list[Shape] = [(), (2,), (3,), (1, 3), (2, 3), (3, 2), (2, 1, 3)]
    count = int(rng.integers(1, 4))
    shapes = [choices[int(rng.integers(len(choices)))] for _ in range(count)]
    leaves = tuple(np.asarray(rng.normal(size=shape)) for shape in shapes)
    values = [np.asarray(x) for x in leaves]
    made: list[tuple[str, tuple[int, ...]]] = []
    while len(made) < steps:
        name = list(RULES)[int(rng.integers(len(RULES)))]
        rule = RULES[name]
        places = tuple(int(i) for i in rng.integers(0, len(values), rule.inputs))
        if rule.fits(*(values[i].shape for i in places)):
            result = np.asarray(rule.array(*(values[i] for i in places)))
            if result.size <= 48:
                values.append(result)
                made.append((name, places))
    return Expression(leaves, tuple(made))
