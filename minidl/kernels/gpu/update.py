"""An optimizer's step on a GPU: one launch for all parameters of a type.

A launch costs the host some microseconds, and a small network has many small parameters. The kernel
treats them all as one long array. A table says where each parameter ends in that long array, and at
which addresses its own arrays lie.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .launch import each, launch


def _sgd(t: int, *, lr: float, momentum: float, nesterov: bool, weight_decay: float) -> Any:
    return lr, momentum, weight_decay, nesterov


def _rmsprop(t: int, *, lr: float, alpha: float, eps: float, weight_decay: float) -> Any:
    return lr, alpha, eps, weight_decay


def _adam(
    t: int, *, lr: float, betas: Any, eps: float, weight_decay: float, decoupled: bool
) -> Any:
    (b1, b2), decay = betas, weight_decay
    shrink, added = (1 - lr * decay, 0.0) if decoupled else (1.0, decay)
    return lr / (1 - b1**t), b1, b2, math.sqrt(1 - b2**t), eps, added, shrink


# The numbers that each kernel takes for a parameter, from the step's count and its options.
NUMBERS: dict[str, Callable[..., Any]] = {"sgd": _sgd, "rmsprop": _rmsprop, "adam": _adam}


COLUMNS, PLACES = 8, 5  # of the tables `numbers` and `table`, for every rule
FEW, MOST = 8, 32  # rows of the tables that a launch passes by value, at most 4 KiB


def table_of(steps: Sequence[Any]) -> list[list[int]]:
    """For each step: where its parameter ends in the long array, and its arrays' addresses."""
    rows, end = [], 0
    for theta, g, _, slots, _ in steps:
        end += theta.size
        places = [a.data.ptr for a in (theta, g, *slots)]
        rows.append([end, *places, *[0] * (PLACES - 1 - len(places))])
    return rows


def numbers_of(rule: str, steps: Sequence[Any]) -> list[tuple[float, ...]]:
    """The rule's numbers for each step, in rows of one length."""
    # Parameters of one group that have taken equally many steps share their numbers.
    known: dict[Any, tuple[float, ...]] = {}
    rows = []
    for _, _, t, _, options in steps:
        key = id(options), t
        if key not in known:
            row = NUMBERS[rule](t, **options)
            known[key] = (*row, *[0.0] * (COLUMNS - len(row)))
        rows.append(known[key])
    return rows


def update(rule: str, steps: Sequence[Any]) -> None:
    """Take steps (theta, g, t, slots, options) by the kernel named `rule`, in place.

    All arrays are contiguous and of one type.
    """
    for start in range(0, len(steps), MOST):
        part = steps[start : start + MOST]
        rows = FEW if len(part) <= FEW else MOST
        tables = np.zeros(1, _tables(rows))
        tables["table"][0, : len(part)] = table_of(part)
        tables["numbers"][0, : len(part)] = numbers_of(rule, part)
        like, total = part[0][0], sum(theta.size for theta, *_ in part)
        launch("update", rule, each(total), (tables, total), like=like, ROWS=rows)


@functools.cache
def _tables(rows: int) -> np.dtype:
    """The struct Tables of update.cu."""
    return np.dtype([("table", "u8", (rows, PLACES)), ("numbers", "f8", (rows, COLUMNS))])
