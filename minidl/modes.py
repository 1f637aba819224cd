"""The switches that operations read as they run (recording, observer, running layer); and hooks.

Each thread has its own switches, so that one thread may predict while another one trains.
"""

import functools
import inspect
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from .device import Array
from .errors import ConfigError

Function = TypeVar("Function", bound=Callable[..., Any])

# Called with the phase ("forward" or "backward"), the operation's name, the module that ran it (or
# None), the array just made, and the arrays it was made from.
Observer = Callable[[str, str, Any, Array, list[Array]], None]


class Joint(Protocol):
    """The statistics of a whole batch, for batch normalisation that has only a part of it.

    The other parts of the batch are in other processes, or wait for their turn in this one.
    """

    def count(self, own: int) -> int:
        """How many values of a channel the whole batch has, if this part has `own`."""

    def moments(self, mean: Array, variance: Array, own: int) -> tuple[Array, Array]:
        """Mean and variance of the whole batch, from those of this part."""

    def sums(self, first: Array, second: Array) -> tuple[Array, Array]:
        """Two sums over this part, summed over all parts."""


class _Switches(threading.local):
    recording: bool = True
    joint: Joint | None = None  # set while the images are only a part of the batch
    observer: Observer | None = None
    layer: Any = None  # the innermost module whose forward is running

    def __init__(self) -> None:
        # The values to restore, one for each open `switched` of this thread, the innermost last.
        self.before: list[Any] = []


switches = _Switches()


class switched:
    """Context in which one switch has the given value; as a decorator, it holds in each call.

    A decorated generator has the value only while its own code runs. At each yield the caller has
    the earlier value back.
    Raises: ConfigError where a coroutine function is decorated.
    """

    def __init__(self, name: str, value: Any) -> None:
        self.name, self.value = name, value

    def __enter__(self) -> None:
        switches.before.append(getattr(switches, self.name))
        setattr(switches, self.name, self.value)

    def __exit__(self, *error: object) -> None:
        setattr(switches, self.name, switches.before.pop())

    def __call__(self, function: Function) -> Function:
        if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
            raise ConfigError(
                f"{self.name}: expected a function or a generator function to decorate, got "
                f"{function.__qualname__}, which runs in turns with others; write the context "
                "inside it, around code without await"
            )

        @functools.wraps(function)
        def inside(*args: Any, **options: Any) -> Any:
            with switched(self.name, self.value):
                return function(*args, **options)

        @functools.wraps(function)
        def steps(*args: Any, **options: Any) -> Any:
            generator = function(*args, **options)
            step = functools.partial(generator.send, None)
            while True:
                with switched(self.name, self.value):
                    try:
                        value = step()
                    except StopIteration as end:
                        return end.value
                try:
                    step = functools.partial(generator.send, (yield value))
                except BaseException as error:
                    step = functools.partial(generator.throw, error)

        chosen: Any = steps if inspect.isgeneratorfunction(function) else inside
        return chosen


def no_grad() -> switched:
    """Context in which nothing is recorded: results carry no gradient."""
    return switched("recording", False)


def enable_grad() -> switched:
    """Context in which operations are recorded, also inside `no_grad`."""
    return switched("recording", True)


def is_recording() -> bool:
    """Whether operations are being recorded."""
    return switches.recording


def observe(observer: Observer) -> switched:
    """Context in which `observer` sees every array that an operation or a pullback makes."""
    return switched("observer", observer)


def running(layer: Any) -> switched:
    """Context in which recorded operations belong to `layer`, a module."""
    return switched("layer", layer)


@contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """Context in which a model is in eval mode. Then each of its modules has its own mode again."""
    before = [(module, module.training) for _, module in model.named_modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in before:
            module.training = training


@contextmanager
def keeping_buffers(model: Any) -> Iterator[None]:
    """Context after which a model's buffers, such as running means, are as they were before."""
    trained = {id(p) for _, p in model.named_parameters()}
    buffers = [t for t in model._state().values() if id(t) not in trained]
    kept = [(buffer, buffer.data, buffer.data.copy()) for buffer in buffers]
    try:
        yield
    finally:
        for buffer, array, values in kept:
            array[...] = values
            buffer.data = array


# Called when a step has been recorded as a CUDA graph; returns what to call after each launch.
InGraphs = Callable[[], Callable[[], Any]] | None


class RemovableHook:
    """A registered hook, returned by the call that registered it; `remove()` takes it off.

    in_graphs: see `Module.register_forward_hook`.
    """

    def __init__(
        self, hooks: list[Any], hook: Callable[..., Any], in_graphs: InGraphs = None
    ) -> None:
        if not callable(hook):
            raise ConfigError(f"hook: expected a function, got {hook!r}")
        self._hooks, self._hook, self.in_graphs = hooks, hook, in_graphs
        hooks.append(self)

    def __call__(self, *seen: Any) -> Any:
        return self._hook(*seen)

    def remove(self) -> None:
        """Take the hook off; once more does nothing."""
        self._hooks[:] = [hook for hook in self._hooks if hook is not self]
