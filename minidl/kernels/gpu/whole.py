"""The end of a whole training step in a CUDA graph: norms, the check for NaN, clipping, update.

An eager step asks the host between the gradients and the update: is the loss finite, how large is
the norm of all gradients? A graph cannot ask. So one kernel decides on the GPU (whole.cu), and the
update reads its verdict. The host learns of it later, when the step's numbers have arrived.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...device import Array, array_module, number
from .launch import counters, each, launch, load
from .update import PLACES, table_of

PIECE = 4096  # numbers of a gradient that a block squares; as in whole.cu


class Ending:
    """Norms, verdict and update of `parameters`, whose gradients a graph has just computed.

    parameters: those with a gradient, in the model's order. trained: those that the optimizer
    changes, in its order. All are contiguous arrays of float32.
    rule, limit: the optimizer's rule, and the largest norm of all gradients (0: no clipping).
    numbers: the array on the GPU from which the rule's numbers are read (update.numbers_of).
    verdict: two numbers, 1 and 1 at the start; the recordings of one training share them.
    measured: the loss, the accuracy and each gradient's norm, after each launch of the graph.
    """

    def __init__(
        self, parameters: Sequence[Any], trained: Sequence[Any], rule: str, limit: float,
        numbers: Array, verdict: Array,
    ) -> None:  # fmt: skip
        self._parameters, self._trained, self._numbers = parameters, trained, numbers
        self._rule, self._limit = rule, limit
        self._xp = xp = array_module(numbers)
        self._norms = xp.empty((len(parameters), 3), xp.uint64)
        self._table = xp.empty((len(trained), PLACES), xp.uint64)
        self._verdict = verdict
        self.measured = xp.empty(2 + len(parameters))
        like = trained[0].data
        load("whole", "judge", like)
        load("update", rule, like, GUARDED=1)

    def record(self, loss: Array, outputs: Array, labels: Array, share: Any) -> None:
        """Launch it all.

        share: the accuracy; None if it is that of outputs (N, K) and labels (N,) of int64.
        """
        xp, gradients = self._xp, [p.grad.data for p in self._parameters]
        pieces = [-(-g.size // PIECE) for g in gradients]
        if share is not None:
            self.measured[1] = share if hasattr(share, "dtype") else number(share, loss, np.float64)
        sums = xp.empty(sum(pieces))
        read = self._norms, sums, loss, outputs, labels, self._limit
        rows = (len(pieces), *outputs.shape[:2]) if share is None else (len(pieces), 0, 0)
        args = *read, self.measured, self._verdict, counters(1), *rows
        launch("whole", "judge", (len(sums),), args, like=loss)
        total = sum(p.size for p in self._trained)
        judged = (self._table, self._numbers, self._verdict, total)
        launch("update", self._rule, each(total), judged, like=loss, GUARDED=1)

    def fill(self, steps: Sequence[Any]) -> None:
        """Write the addresses into the tables, once the graph is recorded and arrays have places.

        steps: those of the optimizer (theta, g, t, slots, options), for `trained`.
        """
        xp, end, rows = self._xp, 0, []
        for p in self._parameters:
            end += -(-p.size // PIECE)
            rows.append((end, p.grad.data.data.ptr, p.size))
        self._norms[...] = xp.asarray(rows, xp.uint64)
        self._table[...] = xp.asarray(table_of(steps), xp.uint64)
