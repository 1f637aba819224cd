"""Signals that ask a training to end. It ends after the current step, with a checkpoint."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# SIGINT: Ctrl-C. SIGTERM: a batch system or a container ends soon. SIGHUP: the terminal was closed.
SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP")
            if hasattr(signal, name)]  # fmt: skip


class Stopped(KeyboardInterrupt):
    """A training that a signal ended; `number` is the signal's."""

    def __init__(self, message: str, number: int = signal.SIGINT) -> None:
        super().__init__(message)
        self.number = number


class StopRequest:
    """number: that of the signal that has asked for the end, or None."""

    number: int | None = None


@contextmanager
def interrupted() -> Iterator[StopRequest]:
    """Context in which the first signal only leaves a request, so that no step is cut in two.

    The second signal raises Stopped. A signal that the process ignores, as under nohup, stays
    ignored. In other threads than the main thread the context does nothing, because Python handles
    signals in the main thread only.
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
