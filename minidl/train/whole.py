"""Whole training steps as CUDA graphs: from the batch to the update in one launch.

The host does not wait for a step's numbers before it starts the next one. `Loop` reads them some
steps later. If a loss or a norm is not finite, the GPU itself leaves the weights alone from that
step on (kernels/gpu/whole.py).
"""

from typing import Any

import numpy as np

from .. import kernels, rng
from ..device import Array, array_module
from ..kernels.gpu.launch import compiled
from ..optim import Optimizer
from ..tensor import Tensor
from .capture import Assumptions, Draws, rehearse
from .settings import Settings
from .step import gradients, one_number


def obstacle(job: Settings) -> str | None:
    """Why the end of a step cannot be part of a graph; None if it can."""
    optimizer = job.optimizer
    step = getattr(optimizer.step, "__func__", None)
    if not getattr(optimizer, "fast", "") or step is not Optimizer.step:
        return f"the update of {type(optimizer).__name__} is Python code"
    if callable(job.clip_option):
        return "clip is a function"
    slots = [a for name, a in optimizer.state.items() if not name.endswith(".step")]
    for array in (*(p.data for p in job.parameters), *slots):
        if array.dtype != np.float32 or not array.flags.c_contiguous:
            return "parameters and optimizer are not all continuous arrays of float32"
    return None if compiled(np.dtype(np.float32)) else "there are no CUDA kernels"


class NotRecordedError(RuntimeError):
    """A step that cannot be recorded, with the reason in one line."""


class WholeSteps:
    """A recorded step for each shape of a batch. Its first batch is rehearsed, and recorded."""

    def __init__(self, job: Settings) -> None:
        self._job, self._assumptions = job, Assumptions(job)
        self._recordings: dict[Any, _Recording] = {}
        self._verdict: Any = None  # on the GPU; see kernels.Ending

    def start(self, images: np.ndarray, targets: np.ndarray) -> Any:
        """Take a step on a batch of the host; a `Letter` with what `metrics.measure` returns.

        The result is None if the caller has to take the step himself.
        Raises: NotRecordedError for a step that cannot be recorded. Nothing has changed then.
        """
        job = self._job
        trained = job.optimizer, *map(id, job.optimizer.params)
        shape = images.shape, targets.shape, targets.dtype
        key = *shape, *trained, *self._assumptions.now()
        if key not in self._recordings:
            if not self._assumptions.steady(shape, key):
                return None
            if (why := self._assumptions.violated()) is not None:
                raise NotRecordedError(why)
            noted = rehearse(job, gradients, job.place(images), job.place_targets(targets))
            randomness = rng.generator().bit_generator.state
            try:
                if self._verdict is None:
                    self._verdict = array_module(job.parameters[0].data).ones(2)
                self._recordings[key] = _Recording(job, images, targets, noted, self._verdict)
            except Exception as error:
                rng.generator().bit_generator.state = randomness
                job.forget_gradients()
                why = (str(error).splitlines() or [type(error).__name__])[0]
                raise NotRecordedError(why) from error
        return self._recordings[key].start(images, targets)


class _Recording:
    """The graph of one step, with the arrays that it reads and writes."""

    def __init__(
        self, job: Settings, images: np.ndarray, targets: np.ndarray, noted: list[np.ndarray],
        verdict: Array,
    ) -> None:  # fmt: skip
        self._job = job
        trained = [p for p in job.optimizer.params if p.grad is not None and p.requires_grad]
        self._parameters = [p for p in job.parameters if p.grad is not None]
        self._places = [i for i, p in enumerate(job.parameters) if p.grad is not None]
        self._held = [p.data for p in job.parameters]  # see `Assumptions`
        own = {id(p) for p in job.parameters}
        buffers = [t for t in job.model._state().values() if id(t) not in own]
        inputs = np.empty(images.shape, np.float32)
        self._numbers = np.zeros((len(trained), kernels.COLUMNS))
        self._feed = kernels.Feed([inputs, targets, self._numbers, *noted])
        x, there, numbers, *random = self._feed.arrays
        self._draws = Draws(random)
        limit = 0.0 if job.clip is None else float(job.clip_option)  # type: ignore[arg-type]
        rule = job.optimizer.fast
        self._ending = kernels.Ending(self._parameters, trained, rule, limit, numbers, verdict)
        self._mailbox = kernels.Mailbox()
        changed = set(map(id, trained))
        self._counts = [f"{i}.step" for i, p in enumerate(job.optimizer.params) if id(p) in changed]

        def work() -> None:
            job.forget_gradients()
            outputs = job.model(Tensor(x))
            loss = one_number(job.loss(outputs, Tensor(there)))
            loss.backward()
            if [i for i, p in enumerate(job.parameters) if p.grad is not None] != self._places:
                raise RuntimeError("not every step has gradients for the same parameters")
            if loss.dtype != np.float32:
                raise RuntimeError(f"the loss is of {loss.dtype}, the model of float32")
            plain = outputs.dtype == np.float32 and outputs.data.flags.c_contiguous
            counted = plain and job.score.counts_rows(outputs.data, there)
            share = None if counted else job.score.accuracy(outputs.data, there)
            self._ending.record(loss.data, outputs.data, there, share)

        with rng.drawing(self._draws):
            self._graph = kernels.Graph(work, like=x)
        self._gradients = [p.grad for p in job.parameters]
        self._buffers = [(buffer, buffer.data) for buffer in buffers]
        self._filled: list[Any] = []

    def start(self, images: np.ndarray, targets: np.ndarray) -> "_Numbers":
        """The same step on another batch."""
        job = self._job
        for buffer, array in self._buffers:
            if buffer.data is not array:  # a step without this graph has made a new array
                array[...] = buffer.data
                buffer.data = array
        for p, gradient in zip(job.parameters, self._gradients, strict=True):
            p.grad = gradient
        steps = job.optimizer.begin_step()
        arrays = [array for theta, g, _, slots, _ in steps for array in (theta, g, *slots)]
        if list(map(id, arrays)) != list(map(id, self._filled)):
            self._ending.fill(steps)
            self._filled = arrays  # held, so that their numbers stay theirs
        self._numbers[...] = kernels.numbers_of(job.optimizer.fast, steps)
        self._feed.put([images, targets, self._numbers, *self._draws.draw_again()])
        self._graph.launch()
        letter = self._mailbox.send(self._ending.measured)
        return _Numbers(letter, self)

    def take_back(self) -> None:
        """Count a step as not taken: the GPU has left the weights alone."""
        for name in self._counts:
            self._job.optimizer.state[name] -= 1

    def spread(self, found: np.ndarray) -> np.ndarray:
        """The numbers in the order of `metrics.measure`: 0 for parameters without a gradient."""
        measured = np.zeros(2 + len(self._job.parameters))
        measured[:2] = found[:2]
        measured[[2 + place for place in self._places]] = found[2:]
        return measured


class _Numbers:
    """Loss, accuracy and the norm of each parameter's gradient, on their way to the host."""

    def __init__(self, letter: Any, recording: _Recording) -> None:
        self._letter, self._recording = letter, recording
        self.take_back = recording.take_back

    def read(self) -> np.ndarray:
        """The numbers, in the order of `metrics.measure`; the host waits until they are there."""
        return self._recording.spread(self._letter.open())
