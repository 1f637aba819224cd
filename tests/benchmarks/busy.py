"""A busy machine: how much longer steps take beside programs that want the same cores."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from cases import CASES
from driver import Worker
from problems import problem_of

STEPS = ("article-64", "mlp-64", "vgg-64")
ENGINES = ("minidl", "torch", "torch channels_last")
QUIET = "quiet"
# What runs beside the engine, one for each core, and how many times as long a step may then take.
NEIGHBOURS = {
    "busy loops": ("while True: pass", 2.5),
    "programs with BLAS threads": (
        "import numpy as np\na = np.ones((768, 768), np.float32)\nwhile True: a @ a",
        3.5,
    ),
}


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def beside(program: str | None) -> Iterator[None]:
    """As many copies of a program as cores, while the block runs."""
    clean = {n: v for n, v in os.environ.items() if not n.endswith("_NUM_THREADS")}
    with ExitStack() as stack:
        for _ in range(cores() if program else 0):
            process = subprocess.Popen([sys.executable, "-c", program], env=clean)
            stack.callback(process.wait)
            stack.callback(process.kill)
        if program:
            time.sleep(1)
        yield


def measure(rounds: int, seconds: float) -> dict[str, Any]:
    """Seconds per step of each engine: on a quiet machine, then beside each kind of neighbour."""
    found: dict[str, Any] = {}
    for name in STEPS:
        problem, times = problem_of(CASES[name]), {}
        with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
            problem.save(Path(folder))
            workers = {}
            for engine in ENGINES:
                worker = Worker(engine, Path(folder), seconds)
                stack.callback(worker.end)
                if "missing" not in worker.about:
                    workers[engine] = worker
            times = {engine: {} for engine in workers}
            for kind in (QUIET, *NEIGHBOURS):
                with beside(NEIGHBOURS[kind][0] if kind != QUIET else None):
                    for _ in range(rounds):
                        for engine, worker in workers.items():
                            took = worker.ask("time")["seconds"]
                            times[engine].setdefault(kind, []).append(took)
        found[name] = times
    return {"cores": cores(), "steps": found}
