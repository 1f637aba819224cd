"""What is switched on while operations run: recording, an observer, the layer that is running.

Each thread has its own switches, so that one thread may predict while another one trains.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from .device import Array

# Called with "forward" or "backward", the operation's name, the module that ran it (or None), the
# array just made, and the arrays it was made from.
Observer = Callable[[str, str, Any, Array, list[Array]], None]


class _Switches(threading.local):
    recording: bool = True
    observer: Observer | None = None
    layer: Any = None  # the innermost module whose forward is running


switches = _Switches()


@contextmanager
def switched(name: str, value: Any) -> Iterator[None]:
    """Context in which one switch has this value."""
    before = getattr(switches, name)
    setattr(switches, name, value)
    try:
        yield
    finally:
        setattr(switches, name, before)


def no_grad() -> Any:
    """Context in which nothing is recorded: results carry no gradient."""
    return switched("recording", False)


def enable_grad() -> Any:
    """Context in which operations are recorded, also inside `no_grad`."""
    return switched("recording", True)


def is_recording() -> bool:
    """Whether operations are being recorded."""
    return switches.recording


def observe(observer: Observer) -> Any:
    """Context in which `observer` sees every array that an operation or a pullback makes."""
    return switched("observer", observer)


def running(layer: Any) -> Any:
    """Context in which recorded operations belong to `layer`, a module."""
    return switched("layer", layer)
