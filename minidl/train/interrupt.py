"""Signals that ask a training to end: it ends after a step, with a checkpoint."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# Ctrl-C; the end that batch systems and containers announce; a terminal that was closed.
SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP")
            if hasattr(signal, name)]  # fmt: skip


class Stopped(KeyboardInterrupt):
    """A training that a signal ended; `number` is the signal's."""

    def __init__(self, message: str, number: int = signal.SIGINT) -> None:
        super().__init__(message)
        self.number = number


class StopRequest:
    """Whether a signal has asked for the end, and which."""

    number: int | None = None


@contextmanager
def interrupted() -> Iterator[StopRequest]:
    """Context in which the first signal only leaves a request, so that no step is cut in two.

    The second one raises. A signal that the process ignores, as under nohup, stays ignored.
    Outside the main thread nothing changes, because Python hears signals there alone.
    """
    request = StopRequest()

    def handle(number: int, frame: Any) -> None:
        if request.number is not None:
            raise Stopped("stopped at once", number)
        request.number = number

    before = {}
    if threading.current_thread() is threading.main_thread():
        heard = (s for s in SIGNALS if signal.getsignal(s) not in (signal.SIG_IGN, None))
        before = {number: signal.signal(number, handle) for number in heard}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
