"""The matrix products of a step by themselves: how near BLAS comes to its own best."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from cases import CASES, walk
from engine_machine import limits
from problems import problem_of

from minidl.kernels import product

STEPS = ("mlp-64", "vgg-64", "resnet-64")


def products(name: str) -> dict[tuple[int, int, int], float]:
    """(m, k, n) of each product a @ b that a step makes, and how often.

    A dense layer makes three of its own sizes. A convolution makes them by image rows: for each
    output row and column of the kernel, (out, kh·in) times (kh·in, OW·batch), and for its two
    gradients one for all the kernel's columns; where kh·in is small, one of all its pixels.
    """
    problem = problem_of(CASES[name])
    batch, found, first = CASES[name].batch, {}, True

    def add(m: int, k: int, n: int, often: float) -> None:
        found[m, k, n] = found.get((m, k, n), 0) + often

    for layer, _, after in walk(problem):
        if layer["kind"] not in ("conv", "dense"):
            continue
        weight = problem.weights[f"{layer['name']}.weight"].shape
        if layer["kind"] == "dense":
            out, inputs = weight
            often = (1, 1, 1)
            shapes = ((batch, inputs, out), (batch, out, inputs), (out, batch, inputs))
        else:
            out, inputs, kh, kw = weight
            rows, pixels = after[1], after[2] * batch
            if kh * inputs < 16:
                across, down, each = out, kh * kw * inputs, 1
            else:
                across, down, each = kw * out, kh * inputs, kw
            shapes = ((out, down, pixels), (down, across, pixels), (across, pixels, down))
            often = (each * rows, rows, rows)
        for i, (shape, count) in enumerate(zip(shapes, often, strict=True)):
            if not (first and i == 1):  # the images' own gradient is not needed
                add(*shape, count)
        first = False
    return found


def measure(rounds: int) -> dict[str, Any]:
    """Seconds of each product alone, the best of several, and the machine's rate beside them."""
    found: dict[str, Any] = {}
    for name in STEPS:
        rows = []
        for (m, k, n), often in products(name).items():
            rows.append({"shape": [m, k, n], "often": often, "seconds": _alone(m, k, n, rounds)})
        found[name] = rows
    return {"steps": found, "operations": limits()["operations"]}


def _alone(m: int, k: int, n: int, rounds: int) -> float:
    """The faster of the whole product and minidl's pieces of it."""
    a = np.ones((m, k), np.float32)
    # Where the sums are long, b is what a layer keeps as (n, k).
    b = np.ones((n, k), np.float32).T if k > n else np.ones((k, n), np.float32)
    out = np.empty((m, n), np.float32)
    repeat = max(int(2e8 / (2 * m * k * n)), 2)

    def run(act: Callable[[], object]) -> float:
        start = time.perf_counter()
        for _ in range(repeat):
            act()
        return (time.perf_counter() - start) / repeat

    ways = (lambda: np.matmul(a, b, out=out)), (lambda: product(a, b))
    return min(_median(partial(run, way), rounds) for way in ways)


def _median(run: Callable[[], float], rounds: int) -> float:
    run()
    return float(np.median([run() for _ in range(rounds)]))
