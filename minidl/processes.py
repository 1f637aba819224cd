"""Whether this process is one of several that a launcher has started, and how all of them end.

`mpiexec -n 4 python script.py` and `srun -n 4 ...` start the same program four times and tell each
process its number in the environment. Only that is read here, so a single process loads nothing
more. `train/distributed.py` is what joins them.
"""

import os
import signal
import stat
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn, TextIO

# The process's number and the count, by launcher: MPICH and what is made from it, Open MPI, Slurm.
_NAMES = (
    ("PMI_RANK", "PMI_SIZE"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),
)
_LOCAL_NAMES = ("MPI_LOCALRANKID", "OMPI_COMM_WORLD_LOCAL_RANK", "SLURM_LOCALID")
# Process 0 reports an error first: process k waits k turns, at most 5. A turn is 0.2 seconds.
_TURN, _MOST_TURNS = 0.2, 5


def place() -> tuple[int, int]:
    """(this process's number from 0, how many there are); (0, 1) for a process on its own.

    MINIDL_PROCESSES=alone makes each one a process on its own, such as four runs with four seeds.
    """
    alone = os.environ.get("MINIDL_PROCESSES") == "alone"
    for rank, size in _NAMES:
        if not alone and os.environ.get(rank, "").isdecimal() and os.environ.get(size, "1") != "1":
            return int(os.environ[rank]), int(os.environ[size])
    return 0, 1


def local_rank() -> int:
    """This process's number among those of its machine, from 0."""
    told = (os.environ.get(name, "") for name in _LOCAL_NAMES)
    return next((int(number) for number in told if number.isdecimal()), 0)


def _kill(code: int) -> None:
    """Die by a signal, because then every launcher ends the others; some ignore an exit code."""
    os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))


abort: Callable[[int], None] = _kill  # `distributed` puts MPI's Abort here


def _nobody_answers() -> bool:
    return False


# Whether every other process has met an error too; `distributed` puts a function that asks them.
all_failed: Callable[[], bool] = _nobody_answers


@contextmanager
def together() -> Iterator[None]:
    """Context of work that all processes do: an error that one alone meets ends all of them.

    An error that all of them meet is raised in each, as in a process on its own.
    """
    try:
        yield
    except BaseException as error:
        if place()[1] > 1 and not all_failed():
            end_all(*last_words(error))
        raise


def end_all(text: str, code: int) -> NoReturn:
    """Print the text and end every process, because the others would wait for this one for ever.

    If all processes fail alike, process 0 prints first, and ends the others before they print too.
    """
    time.sleep(_TURN * min(place()[0], _MOST_TURNS))
    if sys.__stderr__ is not None:
        print(text, file=sys.__stderr__, flush=True)
        _wait_until_read(sys.__stderr__)
    abort(code)
    os._exit(code)


def _wait_until_read(stream: TextIO) -> None:
    """Wait, at most 2 seconds, until the launcher has read all that this process has printed.

    The reason: a launcher that is busy sees the text and the abort at the same time. MPICH's then
    ends the processes first, and the text is lost (7 of 10 times where it was held up on purpose).
    """
    try:
        import fcntl
        import termios

        pipe, waiting, deadline = stream.fileno(), bytearray(4), time.monotonic() + 2
        if not stat.S_ISFIFO(os.fstat(pipe).st_mode):
            return
        while fcntl.ioctl(pipe, termios.FIONREAD, waiting) == 0 and any(waiting):
            if time.monotonic() > deadline:
                return
            time.sleep(0.001)
    except (ImportError, OSError):  # Windows, or a system that cannot tell
        return


def traced(error: BaseException) -> tuple[str, int]:
    """The traceback, with the process it comes from, and an exit code."""
    rank, size = place()
    text = "".join(traceback.format_exception(error))
    number = getattr(error, "number", signal.SIGINT)
    code = 128 + number if isinstance(error, KeyboardInterrupt) else 1
    return f"{text}This was process {rank} of {size}, counted from 0.", code


# What to say of an error, and the exit code; the command line says it in its own way.
last_words: Callable[[BaseException], tuple[str, int]] = traced


def watch() -> None:
    """From now on an error that nobody catches ends every process, not this one alone."""
    if place()[1] > 1:
        sys.excepthook = lambda kind, error, trace: end_all(*last_words(error))
