"""MPI's own launcher, for tests of several processes."""

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
MPIEXEC = Path(sys.executable).parent / "mpiexec"
PROGRAM = [sys.executable, "-m", "tests.train.mpi_program"]


def launch(n, program, **env):
    """mpiexec -n N PROGRAM, with what it prints."""
    return subprocess.Popen(
        [str(MPIEXEC), "-n", str(n), *map(str, program)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | env, start_new_session=True,
    )  # fmt: skip


def finish(child, seconds=100):
    """(exit code, stdout, stderr)."""
    out, err = child.communicate(timeout=seconds)
    return child.returncode, out, err


def workers(child):
    """The processes of the test program that the launcher has started, oldest first."""
    commands = {}
    for process in Path("/proc").iterdir():
        try:
            commands[int(process.name)] = (process / "cmdline").read_bytes().split(b"\0")
        except (ValueError, OSError):  # no process, or one that has ended meanwhile
            continue
    program = [str(part).encode() for part in child.args[3:]]
    return sorted(pid for pid, command in commands.items() if command[: len(program)] == program)


def left_over(child, seconds=5):
    """Those that are still there after a while: one that ends needs a moment."""
    deadline = time.monotonic() + seconds
    while (found := workers(child)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found
