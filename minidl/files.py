"""Files: a look at a path before it is opened, and writing that never leaves half a file.

The look comes first because opening a named pipe waits for its writer, perhaps for ever. It does
not use `Path.is_file`, which raises where a folder may not be read or a name is too long.
"""

import contextlib
import os
import stat
import tempfile
from pathlib import Path

from .errors import CheckpointError, DataError

PathLike = str | os.PathLike[str]
_MOST_TEXT = 2**30  # bytes


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
        with open(path, "rb", buffering=0) as file:  # read in one go, so a buffer saves nothing
            return file.read()
    except OSError as error:
        raise ValueError(f"it cannot be read: {error.strerror or error}") from None
    except MemoryError:
        raise ValueError(
            f"its {os.stat(path).st_size:,} bytes do not fit into the free memory"
        ) from None


def read_text(path: PathLike) -> str:
    """The text of a file in UTF-8, as `write_text` writes it. Raises: ValueError with the reason.

    The mark that some editors write at the start of a file is left out.
    """
    return read_file(path, _MOST_TEXT).decode("utf-8-sig", "surrogateescape")


def _look(path: PathLike) -> tuple[str, int]:
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return "", 0
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        raise ValueError(f"it cannot be read: {getattr(error, 'strerror', error)}") from None
    regular, folder = stat.S_ISREG(found.st_mode), stat.S_ISDIR(found.st_mode)
    return "file" if regular else "folder" if folder else "other", found.st_size


def writable_folder(call: str, path: PathLike) -> Path:
    """Make a folder, and find out before the work that files can be made in it.

    call: who asks, for the message. Raises: CheckpointError where no file can be made.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise CheckpointError(
            f"{call}: cannot write to {str(folder)!r}: {error.strerror or error}; choose another "
            "folder"
        ) from None
    return folder


def write_bytes(path: PathLike, content: bytes) -> None:
    """Replace the file at `path` by `content`: whoever reads it finds the old bytes or the new.

    The bytes go to a temporary file in the same folder and reach the disk before the name moves,
    so that neither a kill nor a power cut leaves half a file.
    A link stays a link: the file that it points to is replaced.
    Raises: CheckpointError where the folder cannot be written, the disk is full, or the path is a
    folder, a pipe or a device.
    """
    target = Path(os.path.realpath(path))
    with contextlib.suppress(ValueError):  # what is wrong then, is said below
        kind = _look(target)[0]
        if kind not in ("file", ""):
            raise CheckpointError(
                f"cannot write {str(path)!r}: it is {'a folder' if kind == 'folder' else 'no file'}"
                "; choose the name of a file"
            )
    temporary = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(
            prefix=f".{target.name}-", suffix=".part", dir=target.parent
        )
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())  # mkstemp's files are for their owner alone
        os.replace(temporary, target)
        _sync_folder(target.parent)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise CheckpointError(
            f"cannot write {str(target)!r}: {error.strerror or error}; free some space, or choose "
            "a folder that you may write to"
        ) from None
    except BaseException:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise


def write_text(path: PathLike, text: str) -> None:
    """As `write_bytes`, in UTF-8. Raises: CheckpointError as there.

    A file's name may hold bytes that are no UTF-8. They are written as they are.
    """
    write_bytes(path, text.encode("utf-8", "surrogateescape"))


def remove_parts(folder: PathLike, *names: str) -> None:
    """Remove the half-written files that a kill left; a name may be a pattern such as "step-*"."""
    for name in names:
        for part in Path(folder).glob(f".{name}-*.part"):
            with contextlib.suppress(OSError):  # the next write to the folder says what is wrong
                part.unlink()


def check_ordinary(path: PathLike) -> None:
    """Raise CheckpointError for a pipe or a device, because opening one may wait for ever."""
    with contextlib.suppress(ValueError):  # the caller opens the file, and then says what is wrong
        if _look(path)[0] == "other":
            raise CheckpointError(f"cannot read {str(path)!r}: it is no ordinary file")


def append_text(path: PathLike, text: str) -> None:
    """Add lines to a file. Raises: CheckpointError where it cannot be written."""
    try:
        with open(path, "a", encoding="utf-8", newline="") as file:
            file.write(text)
    except OSError as error:
        raise CheckpointError(f"cannot write {str(path)!r}: {error.strerror or error}") from None


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":  # elsewhere a folder cannot be opened
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
