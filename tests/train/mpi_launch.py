"""MPI's own launcher, for tests of several processes."""

import os
import subprocess
import sys
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
