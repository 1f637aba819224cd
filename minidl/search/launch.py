"""Several workers of one search: processes that share nothing but its storage."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import CheckpointError
from ..kernels.cpu.threads import get_threads

_LOOK = 0.5  # seconds


def run_workers(
    count: int,
    out: Path,
    storage: str | None,
    name: str | None,
    seconds: float | None,
    show: Callable[[], None],
) -> None:
    """Start workers and wait for them; `show` is called twice a second.

    Each gets its share of the processors, because the threads of several processes would wait for
    each other. A worker that is killed leaves its trial to the others.
    seconds: time after which the workers stop; None for no limit. storage, name: as in `search`.
    Raises: CheckpointError with the workers' last message where all of them failed;
    KeyboardInterrupt after they have stopped at the same signal.
    """
    threads = str(max(1, get_threads() // count))
    environment = os.environ | {"MINIDL_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
    command = [sys.executable, "-m", "minidl.search", str(out)]
    command += ["" if x is None else str(x) for x in (storage, name, seconds)]
    with tempfile.TemporaryFile("w+") as said:
        workers = [subprocess.Popen(command, env=environment, stderr=said) for _ in range(count)]
        try:
            while any(worker.poll() is None for worker in workers):
                show()
                time.sleep(_LOOK)
        finally:
            _stop(workers)
        show()
        if all(worker.returncode for worker in workers):
            said.seek(0)
            lines = said.read().strip().splitlines()
            raise CheckpointError(
                f"search: none of the {count} workers came to the end: "
                + (lines[-1] if lines else f"they ended with {workers[0].returncode}")
            )


def _stop(workers: list[Any]) -> None:
    """Stop the workers that still run; each leaves a checkpoint of its trial."""
    with _deaf():  # a second Ctrl-C must not leave processes behind
        for worker in workers:
            if worker.poll() is None:
                with contextlib.suppress(OSError):
                    worker.terminate()
        for worker in workers:
            worker.wait()


@contextlib.contextmanager
def _deaf() -> Any:
    try:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    except ValueError:  # not in the main thread, which alone hears signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
