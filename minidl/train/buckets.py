"""Adding gradients over the processes while the backward pass still runs.

All gradients lie in one flat array. The backward pass computes them from the last layer to the
first, so the array fills from its end. The array is cut into buckets. As soon as a bucket is full,
its sum over the processes is started, and the backward pass goes on with the layers before. The
reason for buckets: a message for each parameter would add up too many latencies, and one message
for all could start only at the end.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..device import Array, array_module, to_device
from ..tensor import Node, Pullback, Tensor

Begin = Callable[[Array], Callable[[], Any]]  # begins a sum, and returns what waits for its end


class Buckets:
    """The gradients of one shard. `flat` holds `extra` numbers first, then each gradient.

    extra: how many numbers to add over the processes beside the gradients. bytes_each: the least
    size of a bucket; the first may be smaller. begin: a function that starts to add a part of
    `flat` over the processes; None leaves this to the caller.
    """

    def __init__(
        self, parameters: Sequence[Tensor], extra: int, bytes_each: int, begin: Begin | None
    ) -> None:
        xp = array_module(parameters[0].data)
        self.parameters, self.extra, self._begin = parameters, extra, begin
        dtype = np.result_type(np.float32, *(p.dtype for p in parameters))
        ends = np.cumsum([extra, *(p.size for p in parameters)]).tolist()
        self.flat = xp.zeros(ends[-1], dtype)
        self._slots = {
            id(p): slice(start, start + p.size) for p, start in zip(parameters, ends, strict=False)
        }
        self.starts = [0]
        if begin is not None:
            self.starts = _cut(ends[:-1], ends[-1], bytes_each // dtype.itemsize)
        self._missing = Counter(self._bucket(id(p)) for p in parameters)
        self._put: set[int] = set()  # ids of parameters whose whole gradient is in `flat`
        self._given: set[int] = set()  # ids of parameters that have got any gradient
        self._waits: list[Callable[[], Any]] = []
        self._sent = len(self.starts)

    def _bucket(self, parameter: int) -> int:
        return int(np.searchsorted(self.starts, self._slots[parameter].start, side="right")) - 1

    def begin_with(self, found: Mapping[int, Tensor], factor: float) -> None:
        """Write these gradients (by parameters' ids) times `factor`; `put` adds to them later."""
        for parameter in self.parameters:
            if id(parameter) in found:
                self.flat[self._slots[id(parameter)]] = found[id(parameter)].data.ravel() * factor
                self._given.add(id(parameter))

    def watch(self, y: Tensor) -> None:
        """Make the backward pass from y put each gradient into its bucket once it is computed.

        The gradient of a parameter that is used twice is a sum of two. It is left for `finish`.
        """
        if len(self.starts) == 1:
            return
        nodes = _nodes(y)
        inputs = [id(x) for node in nodes for x, _ in node.inputs or ()]
        once = {i for i, n in Counter(inputs).items() if n == 1 and i in self._slots}
        for node in nodes:
            if any(id(x) in once and not x.hooks for x, _ in node.inputs or ()):
                self._watch(node, once)

    def _watch(self, node: Node, once: set[int]) -> None:
        inputs, fast = node.inputs or (), node.fast

        def seen(x: Tensor, g: Any) -> Any:
            if id(x) in once and not x.hooks and g is not None and g.shape == x.shape:
                self.put(x, g)
            return g

        def noted(x: Tensor, pullback: Pullback) -> Pullback:
            return lambda g, y: seen(x, pullback(g, y))

        if fast is None:
            node.inputs = tuple((x, noted(x, pullback)) for x, pullback in inputs)
        else:
            node.fast = lambda g, y, needed: [
                seen(x, gx) for (x, _), gx in zip(inputs, fast(g, y, needed), strict=True)
            ]

    def put(self, parameter: Tensor, g: Tensor) -> None:
        """Write a whole gradient to its place, and send the buckets that are full."""
        self.flat[self._slots[id(parameter)]] += g.data.ravel()
        self._put.add(id(parameter))
        self._given.add(id(parameter))
        self._missing[self._bucket(id(parameter))] -= 1
        while self._sent > 1 and not self._missing[self._sent - 1]:  # in the same order everywhere
            self._send()

    def _send(self) -> None:
        self._sent -= 1
        ends = [*self.starts[1:], len(self.flat)]
        if self._begin is not None:
            part = self.flat[self.starts[self._sent] : ends[self._sent]]
            self._waits.append(self._begin(part))

    def finish(self, pairs: Iterable[tuple[Tensor, Tensor]], extra: Sequence[Array]) -> None:
        """Put the other gradients, send the other buckets, and wait for all sums."""
        xp = array_module(self.flat)
        for parameter, g in pairs:
            if id(parameter) in self._slots and id(parameter) not in self._put:
                self.put(parameter, g)
        if extra:
            device = self.parameters[0].device
            rows = [to_device(part, device).astype(self.flat.dtype).ravel() for part in extra]
            self.flat[: self.extra] = xp.concatenate(rows)
        while self._sent:
            self._send()
        for wait in self._waits:
            wait()

    def given(self, parameter: Tensor) -> bool:
        """Whether the loss depends on this parameter."""
        return id(parameter) in self._given


def _cut(starts: list[int], end: int, least: int) -> list[int]:
    """The starts of buckets, cut from the end; each but the first has `least` numbers or more."""
    found = []
    for start in reversed(starts):
        if end - start >= least:
            found.append(start)
            end = start
    return [0, *reversed([start for start in found if start > starts[0]])]


def _nodes(y: Tensor) -> list[Node]:
    """The nodes of all operations that y was computed by."""
    found: dict[int, Node] = {}
    waiting = [y]
    while waiting:
        node = waiting.pop().node
        if node is not None and id(node) not in found:
            found[id(node)] = node
            waiting.extend(x for x, _ in node.inputs or ())
    return list(found.values())
