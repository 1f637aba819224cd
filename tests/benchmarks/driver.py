"""Measures a case: every engine in its own process, in turn, several rounds."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from cases import Case, cost
from problems import problem_of

HERE = Path(__file__).parent
TOLERANCE = 2e-3  # relative, of losses and answers: float32 sums in another order


class Worker:
    """A process with one engine, stopped whenever it is not its turn."""

    def __init__(self, engine: str, folder: Path, seconds: float) -> None:
        self.log = folder / f"{engine}.log"
        # Every engine with its own default number of threads.
        environment = {n: v for n, v in os.environ.items() if not n.endswith("_NUM_THREADS")}
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(HERE / "worker.py"), engine, str(folder), str(seconds)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=environment,
            )
        self.about = self._answer()
        self.process.send_signal(signal.SIGSTOP)

    def ask(self, what: str) -> dict[str, Any]:
        self.process.send_signal(signal.SIGCONT)
        assert self.process.stdin is not None
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        found = self._answer()
        self.process.send_signal(signal.SIGSTOP)
        if "missing" in found:
            raise RuntimeError(f"{self.process.args}: {found['missing']}")
        return found

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        return json.loads(line) if line else {"missing": self._last_words()}

    def _last_words(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()
        errors = [line for line in lines if re.match(r"[\w.]*(Error|Exception)", line)]
        return errors[-1] if errors else "it ended without a word"


def measure(case: Case, rounds: int, seconds: float) -> dict[str, Any]:
    """Seconds per step of each engine, round by round, with what the machine could do."""
    problem = problem_of(case)
    operations, moved = cost(problem)
    result: dict[str, Any] = {"engines": {}, "missing": {}}
    result |= {"operations": operations, "bytes": moved}
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder, workers = Path(name), {}
        problem.save(folder)
        for engine in ("machine", *case.engines):
            worker = Worker(engine, folder, seconds)
            stack.callback(worker.end)
            if "missing" in worker.about:
                result["missing"][engine] = worker.about["missing"]
            else:
                workers[engine] = worker
        machine, limits = workers.pop("machine"), []
        result["machine"] = machine.about["version"]
        times: dict[str, list[float]] = {engine: [] for engine in workers}
        for _ in range(rounds):
            limits.append(machine.ask("limits"))
            for engine, worker in workers.items():
                times[engine].append(worker.ask("time")["seconds"])
        ours = workers["minidl"].about["values"]
        for engine, worker in workers.items():
            result["engines"][engine] = {
                "version": worker.about["version"],
                "seconds": times[engine],
                "agrees": bool(np.allclose(worker.about["values"], ours, TOLERANCE, TOLERANCE)),
                **worker.ask("memory"),
            }
    result["limits"] = {n: float(np.median([x[n] for x in limits])) for n in limits[0]}
    return result
