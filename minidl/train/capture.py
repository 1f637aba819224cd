"""CUDA graphs of a forward and backward pass without the update, and of a forward pass alone."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import kernels, rng
from ..device import Array, to_device
from ..modes import RemovableHook, keeping_buffers, switches
from ..nn import Module
from ..tensor import Tensor
from .settings import Settings, one_tensor

Work = Callable[[Settings, Tensor, Array], Array]


class Assumptions:
    """What Python decides while a graph is recorded, and cannot decide again when it is launched.

    Which arrays the parameters are, which of them need gradients, which layers train and with which
    options (the `p` of a dropout, for example), who looks on. A graph holds only for steps with the
    same `now()`, and must hold the parameters' arrays: the number of an array that is gone may
    become another array's.
    """

    def __init__(self, job: Settings) -> None:
        self._parameters = job.parameters
        self._modules = job.model.named_modules()
        self._last: dict[Any, Any] = {}  # of the shape of a batch: the key that had no graph

    def now(self) -> tuple[Any, ...]:
        """A key for the state of the model."""
        layers = [
            (*_options(module), *(hook.in_graphs for hook in _hooks(module)))
            for _, module in self._modules
        ]
        kept = [(id(p.data), p.requires_grad, bool(p.hooks)) for p in self._parameters]
        return *layers, *kept

    def steady(self, shape: Any, key: Any) -> bool:
        """Whether a graph for `key` is worth its price: not if each step has another key.

        True for the first batch of a shape. After a change, for the second batch after it.
        """
        before = self._last.get(shape)
        self._last[shape] = key, [p.data for p in self._parameters]
        return before is None or before[0] == key

    def violated(self) -> str | None:
        """Which Python code of others would have to run in each step; None if there is none."""
        watched = [
            name or "model"
            for name, module in self._modules
            if any(hook.in_graphs is None for hook in _hooks(module))
        ]
        if watched:
            return f"hooks look at the outputs of layers {', '.join(watched)}"
        if any(p.hooks for p in self._parameters):
            return "hooks look at the gradients of parameters"
        watching = switches.observer is not None
        return "an observer looks at the result of each operation" if watching else None


def _options(module: Module) -> list[Any]:
    """The module's attributes that are numbers, words, or True and False: its options."""
    return [v for v in vars(module).values() if isinstance(v, bool | int | float | str)]


def _hooks(module: Module) -> list[RemovableHook]:
    return [*module._forward_hooks, *module._forward_pre_hooks]


class Draws:
    """Stands for `rng.drawn` while a graph is recorded: the graph reads the same arrays each time.

    arrays: one for each draw, in order, on the device. `draw_again` draws new numbers for them.
    """

    def __init__(self, arrays: list[Array]) -> None:
        self.arrays, self._functions = arrays, list[rng.Draw]()

    def __call__(self, draw: rng.Draw, device: str) -> Array:
        self._functions.append(draw)
        return self.arrays[len(self._functions) - 1]

    def draw_again(self) -> list[np.ndarray]:
        """What a step without a graph would draw now."""
        return [draw(rng.generator()) for draw in self._functions]


def rehearse(job: Settings, work: Work, x: Tensor, targets: Array) -> list[np.ndarray]:
    """Compute the gradients of a batch once without a graph: it loads all kernels.

    Returns the random arrays that it drew, for their shapes.

    The model's buffers and the random numbers are put back. So each step that counts is a launch of
    a graph, and a training that goes on from a checkpoint computes the same bytes, although it
    meets each shape of a batch anew.
    """
    randomness = rng.generator().bit_generator.state
    drawn: list[np.ndarray] = []

    def note(draw: rng.Draw, device: str) -> Array:
        drawn.append(draw(rng.generator()))
        return to_device(drawn[-1], device)

    try:
        job.forget_gradients()
        with rng.drawing(note), keeping_buffers(job.model):
            work(job, x, targets)
    finally:
        rng.generator().bit_generator.state = randomness
    return drawn


def foreign(job: Settings) -> str | None:
    """What might do other work in each step, as only its author knows; None if there is nothing."""
    parts = [type(module) for _, module in job.model.named_modules()]
    for part in (*parts, job.loss):
        if getattr(part, "__module__", "").split(".")[0] != __name__.split(".")[0]:
            name = getattr(part, "__name__", repr(part))
            return f"{name} may do other work in each step; if not, pass Trainer(capture=True)"
    return None


class Captured:
    """`step.gradients`, recorded: it leaves the same gradients in the parameters.

    The first batch of a shape is rehearsed without a graph, and recorded. From then on the
    recording is started. If recording is impossible, `say` is told why in one line, and the kernels
    are launched one by one.
    """

    def __init__(self, job: Settings, work: Work, say: Callable[[str], None]) -> None:
        self._job, self._compute, self._say = job, work, say
        self._parameters = job.parameters
        known = {id(p) for p in self._parameters}
        self._buffers = [t for t in job.model._state().values() if id(t) not in known]
        self._assumptions = Assumptions(job)
        self._recordings: dict[Any, _Recording] = {}
        self._possible = True
        if job.device == "cpu":
            self._give_up("the model is on the CPU, where no launch costs anything")

    def _work(self, x: Tensor, targets: Array) -> Array:
        return self._compute(self._job, x, targets)

    def __call__(self, job: Settings, x: Tensor, targets: Array) -> Array:
        """The result of `step.gradients`. Read it before the next call overwrites it."""
        if not self._possible:
            return self._work(x, targets)
        shape = x.shape, x.dtype, targets.shape, targets.dtype
        key = *shape, *self._assumptions.now()
        if key not in self._recordings:
            if not self._assumptions.steady(shape, key):
                return self._work(x, targets)
            why = self._assumptions.violated()
            if why is not None:
                self._give_up(why)
                return self._work(x, targets)
            noted = rehearse(job, self._compute, x, targets)
            job.forget_gradients()
            randomness = rng.generator().bit_generator.state
            try:
                recording = _Recording(
                    self._work, x, targets, self._parameters, self._buffers, noted
                )
                recording.listen(job.model)
            except Exception as error:
                self._give_up((str(error).splitlines() or [type(error).__name__])[0])
                job.forget_gradients()
                rng.generator().bit_generator.state = randomness
                return self._work(x, targets)
            self._recordings[key] = recording
        return self._recordings[key].start(x, targets)

    def _give_up(self, why: str) -> None:
        self._possible = False
        self._say(why)


class _Recording:
    """A graph with the arrays that it reads (a batch) and those that it writes.

    It writes the gradients, the buffers, such as the running mean of `BatchNorm2d`, and what a
    monitor's hooks compute. noted: arrays of the host like those that the work draws at random.
    """

    def __init__(
        self, work: Any, x: Tensor, targets: Array, parameters: list[Any], buffers: list[Tensor],
        noted: list[np.ndarray],
    ) -> None:  # fmt: skip
        self._x, self._targets, self._parameters = Tensor(x.data.copy()), targets.copy(), parameters
        self._held = [p.data for p in parameters]  # see `Assumptions`
        self._draws = Draws([to_device(array, x.device) for array in noted])
        with rng.drawing(self._draws):
            self._graph = kernels.Graph(lambda: work(self._x, self._targets), like=x.data)
        self._again: list[Callable[[], None]] = []
        self._gradients = [p.grad for p in parameters]
        self._buffers = [(buffer, buffer.data) for buffer in buffers]

    def listen(self, model: Module) -> None:
        """Ask the hooks what to call after a launch, which runs none of them."""
        hooks = [hook for _, module in model.named_modules() for hook in _hooks(module)]
        recorded = dict.fromkeys(hook.in_graphs for hook in hooks if hook.in_graphs is not None)
        self._again = [ask() for ask in recorded]

    def start(self, x: Tensor, targets: Array) -> Array:
        """The same work on another batch."""
        self._x.data[...] = x.data
        self._targets[...] = targets
        for array, values in zip(self._draws.arrays, self._draws.draw_again(), strict=True):
            array[...] = to_device(values, x.device)
        for buffer, array in self._buffers:
            if buffer.data is not array:  # a step without the graph has made a new array
                array[...] = buffer.data
                buffer.data = array
        result = self._graph.launch()
        for p, gradient in zip(self._parameters, self._gradients, strict=True):
            p.grad = gradient
        for again in self._again:
            again()
        return result


class Answers:
    """The model's outputs in eval mode. On a GPU their computation is recorded, as a step's is.

    The first batch of a shape is computed launch by launch, which loads all kernels. The second one
    is recorded, and from then on the recording is started. A change of the model, other than new
    values in the same arrays, begins anew. What cannot be recorded is computed launch by launch.
    """

    def __init__(self, job: Settings) -> None:
        self._job, self._assumptions = job, Assumptions(job)
        self._state: Any = None  # of the model, for which the recordings hold
        self._held: list[Array] = []  # the arrays that they read
        self._recordings: dict[Any, Any] = {}  # of the shape of a batch; None: computed once
        self._possible = job.capture is True or (job.capture == "auto" and foreign(job) is None)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """The outputs for a batch. Call it in eval mode and under no_grad."""
        x = self._job.place(images)
        if not self._possible or x.device == "cpu" or self._assumptions.violated() is not None:
            return self._compute(x).numpy()
        held = [t.data for t in self._job.model._state().values()]
        state = *self._assumptions.now(), *map(id, held)
        if state != self._state:
            self._state, self._held, self._recordings = state, held, {}
        shape = x.shape, x.dtype
        if shape not in self._recordings:
            self._recordings[shape] = None
            return self._compute(x).numpy()
        recording = self._recordings[shape] or self._record(x)
        if recording is None:
            return self._compute(x).numpy()
        self._recordings[shape] = recording
        batch, graph = recording
        batch[...] = x.data
        return graph.launch().numpy()

    def _compute(self, x: Tensor) -> Tensor:
        return one_tensor(self._job.model(x))

    def _record(self, x: Tensor) -> tuple[Array, kernels.Graph] | None:
        """The array to put a batch into, and the graph that reads it; None if it is impossible."""
        batch = Tensor(x.data.copy())
        try:
            return batch.data, kernels.Graph(lambda: self._compute(batch), like=x.data)
        except Exception as error:
            self._possible = False
            if self._job.capture is True:
                why = (str(error).splitlines() or [type(error).__name__])[0]
                warnings.warn(
                    f"Trainer(capture=True): outputs are computed launch by launch: {why}",
                    stacklevel=2,
                )
            return None
