"""One engine in a process of its own: `worker.py ENGINE FOLDER SECONDS`, commands on stdin.

It answers each command with one line of JSON on what was its standard output; whatever the
engine prints goes to standard error.
"""

import importlib
import json
import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from cases import Problem

CHECKED = 4  # steps whose losses must agree


def main(engine: str, folder: Path, seconds: float) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(**values: Any) -> None:
        print(json.dumps(values), file=answers, flush=True)

    name, _, variant = engine.partition(" ")
    try:
        module = importlib.import_module(f"engine_{name}")
    except ImportError as error:
        return answer(missing=f"{type(error).__name__}: {error}")
    if name == "machine":
        answer(version=module.VERSION)
        for _ in sys.stdin:
            answer(**module.limits())
        return None
    problem = Problem.load(folder)
    before = resident()
    made = module.make(problem, variant)
    if problem.train:
        values = [float(made.step(i)) for i in range(CHECKED)]
    else:
        values = [float(v) for v in np.ravel(made.answer(0))[:40]]
    # The first runs compile, fill caches and tell how many steps a round holds.
    made.ready(4)()
    step = took(made.ready(8)) / 8
    n = max(math.ceil(seconds / step), 4)
    answer(values=values, version=module.VERSION)
    run = made.ready(n)
    run()
    for line in sys.stdin:
        if line.strip() == "memory":
            forget_peak()
            run()
            answer(memory=peak() - before, process=peak())
        else:
            answer(seconds=took(run) / n)
    return None


def took(run: Callable[[], Any]) -> float:
    """Seconds of a run; a run that keeps its own time returns them."""
    start = time.perf_counter()
    own = run()
    return own if isinstance(own, float) else time.perf_counter() - start


def resident() -> int:
    return _status("VmRSS")


def peak() -> int:
    return _status("VmHWM")


def forget_peak() -> None:
    """Start the peak anew at what is resident now."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {name}")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), float(sys.argv[3]))
