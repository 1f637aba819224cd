"""Where a search is kept: Optuna's journal, a file that several processes share, or a database."""

import errno
import json
import os
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from ..errors import CheckpointError, ConfigError
from ..files import check_ordinary

if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        while True:
            try:
                return msvcrt.locking(descriptor, msvcrt.LK_LOCK, 1)
            except OSError as error:  # it gives up after ten seconds
                if error.errno != errno.EDEADLK:
                    raise
                time.sleep(0.01)
else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)


@contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """Context that one process at a time may enter; the others wait.

    The system takes the lock back when the process ends, however it ends. Optuna's own locks are
    files: the lock of a killed process stays, and the others wait 30 seconds for it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        _lock(descriptor)
        yield
    finally:
        os.close(descriptor)


TURN = "next.lock"  # in the folder of a search: whoever holds it draws the next trial


class WholeLines(JournalFileOpenLock):
    """The lock of a journal. Whoever gets it first removes a line that was left half-written.

    A process that is killed, or a disk that is full, in the middle of a write leaves the beginning
    of a line. The next line would be appended to it, and the journal could not be read any more.
    """

    def __init__(self, path: Path) -> None:
        self._journal, self._path = path, path.with_name(path.name + ".lock")
        self._context: Any = None

    def acquire(self) -> bool:
        self._context = one_at_a_time(self._path)
        self._context.__enter__()
        with open(self._journal, "r+b") as file:
            end = file.seek(0, os.SEEK_END)
            if end:
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    file.truncate(_last_line_end(file, end))
        return True

    def release(self) -> None:
        self._context.__exit__(None, None, None)


def _last_line_end(file: Any, end: int) -> int:
    """The number of bytes up to the last line that is whole."""
    size = 4096
    while True:
        start = max(0, end - size)
        file.seek(start)
        found = file.read(end - start).rfind(b"\n")
        if found >= 0 or start == 0:
            return start + found + 1
        size *= 2


def open_journal(path: Path) -> BaseStorage:
    """The journal at a path, a new one where there is none.

    Raises: CheckpointError where it cannot be written, or is damaged.
    """
    check_ordinary(path)
    try:
        lock = WholeLines(path)
        backend = JournalFileBackend(str(path), lock_obj=lock)
        lock.acquire()
        lock.release()
        _check_lines(path)
        return JournalStorage(backend)
    except OSError as error:
        raise CheckpointError(
            f"search: cannot open {str(path)!r}: {error.strerror or error}; choose another folder"
        ) from None
    except CheckpointError:
        raise
    except Exception as error:  # whatever Optuna meets in lines that do not fit each other
        raise CheckpointError(_damaged(path, f"{type(error).__name__}: {error}")) from None


def _check_lines(path: Path) -> None:
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            try:
                fine = isinstance(json.loads(line)["op_code"], int)
            except (ValueError, TypeError, KeyError, RecursionError):
                fine = False
            if not fine:
                raise CheckpointError(_damaged(path, f"line {number} is not one of Optuna's"))


def _damaged(path: Path, why: str) -> str:
    return (
        f"search: {str(path)!r} is damaged ({why}); bring back a copy of it, or start a new search "
        "in another folder. The runs of its trials are whole: minidl compare, minidl evaluate"
    )


def open_database(url: str) -> BaseStorage:
    """A database of Optuna's. Raises: ConfigError where the URL or its driver is wrong."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            return RDBStorage(url)
    except ImportError as error:
        raise ConfigError(
            f"storage: {error}; install the driver of that database, such as psycopg2-binary"
        ) from None
    except Exception as error:  # SQLAlchemy has a hundred kinds
        first = str(error).strip().splitlines()[0]
        raise ConfigError(
            f"storage: cannot open {_without_password(url)!r}: {first}; expected an URL such as "
            "postgresql+psycopg2://user@host/database"
        ) from None


def _without_password(url: str) -> str:
    before, at, after = url.rpartition("@")
    scheme, slashes, user = before.partition("://")
    return f"{scheme}{slashes}{user.partition(':')[0]}{at}{after}"


def quiet() -> None:
    """Switch Optuna's log of every trial off: the table shows the trials."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
