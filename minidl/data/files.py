"""What lies at a path, asked before anything is opened; and the bytes of a file.

To open a named pipe would wait for its writer for ever, and `Path.is_file` raises where a folder
may not be read or a name is too long.
"""

import os
import stat

from ..errors import DataError

PathLike = str | os.PathLike[str]


def kind_of(path: PathLike) -> str:
    """ "file", "folder", "other" (a pipe, a device), or "" where there is nothing.

    Raises: DataError if the path cannot be looked at.
    """
    try:
        return _look(path)[0]
    except ValueError as reason:
        raise DataError(
            f"data: expected a file or folder at {os.fspath(path)!r}, but {reason}",
            files=[(os.fspath(path), str(reason))],
        ) from None


def check_file(path: PathLike, most: int) -> None:
    """Raise ValueError with the reason unless a file of at most `most` bytes lies at the path."""
    kind, size = _look(path)
    if not kind:
        raise ValueError("there is no such file; check the path")
    if kind == "folder":
        raise ValueError("it cannot be read: it is a folder, and a file is expected")
    if kind == "other":
        raise ValueError("it is not a regular file (a named pipe, a device)")
    if size > most:
        raise ValueError(f"it has {size:,} bytes, more than {most:,}")


def read_file(path: PathLike, most: int) -> bytes:
    """The bytes of a file. Raises: ValueError with the reason, as check_file does."""
    check_file(path, most)
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise ValueError(f"it cannot be read: {error.strerror or error}") from None
    except MemoryError:
        raise ValueError(
            f"its {os.stat(path).st_size:,} bytes do not fit into the free memory"
        ) from None


def _look(path: PathLike) -> tuple[str, int]:
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return "", 0
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        raise ValueError(f"it cannot be read: {getattr(error, 'strerror', error)}") from None
    regular, folder = stat.S_ISREG(found.st_mode), stat.S_ISDIR(found.st_mode)
    return "file" if regular else "folder" if folder else "other", found.st_size
