"""A lock on a folder, so that only one training at a time writes into it."""

import contextlib
import errno
import hashlib
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import CheckpointError
from ..files import PathLike

_BUSY = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
_held: dict[str, int] = {}  # folder -> the thread of this process that holds it


@contextmanager
def locked(folder: PathLike) -> Iterator[None]:
    """Context in which no other training writes into the folder; a missing folder is made.

    The system releases the lock when the process ends, however it ends. The thread that holds a
    folder may enter again. A folder that is still empty at the end is removed.
    Raises: CheckpointError where another training holds it, or it cannot be made.
    """
    path = Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
        place = str(path.resolve())
        own = _held.get(place) == threading.get_ident()
        descriptor = None if place in _held else _locked_descriptor(path)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        why = "it is a file" if isinstance(error, FileExistsError) else _words(error)
        raise CheckpointError(
            f"out: cannot write to {str(path)!r}: {why}; choose another name"
        ) from None
    if own:
        yield
        return
    if descriptor is None:
        raise CheckpointError(
            f"out: a training into {str(path)!r} is running already; wait for its end, or choose "
            "another folder"
        )
    _held[place] = threading.get_ident()
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # it is not empty
            path.rmdir()
        del _held[place]
        os.close(descriptor)


def _words(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _locked_descriptor(folder: Path) -> int | None:
    """An open file with the lock of the folder; None where another process has it."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = _open(folder)
        try:
            _lock(descriptor)
            # Another process may have removed the empty folder meanwhile: then try a new one.
            if sys.platform == "win32" or os.path.samestat(os.fstat(descriptor), folder.stat()):
                return descriptor
        except FileNotFoundError:
            pass
        except OSError as error:
            if error.errno not in _BUSY:
                return descriptor  # a file system that has no locks
            os.close(descriptor)
            return None
        os.close(descriptor)


if sys.platform == "win32":  # cannot open a folder: a file of the same name, elsewhere, stands in
    import msvcrt

    def _open(folder: Path) -> int:
        name = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
        return os.open(Path(tempfile.gettempdir()) / f"minidl-{name}.lock", os.O_RDWR | os.O_CREAT)

    def _lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _open(folder: Path) -> int:
        return os.open(folder, os.O_RDONLY)

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
