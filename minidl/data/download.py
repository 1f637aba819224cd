"""Downloading a file once, from one of several mirrors; its size and checksum must be right."""

import contextlib
import glob
import hashlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ..errors import DataError
from ..files import kind_of
from .bar import progress_bar

_CHUNK = 2**18
_PART = ".part"


class Remote(NamedTuple):
    """A file to download. size: in bytes. sha256: its checksum, in hexadecimal digits."""

    name: str
    size: int
    sha256: str


def cache_folder() -> Path:
    """The folder of downloads: $MINIDL_CACHE, or .cache/minidl in the home folder.

    Raises: DataError if there is neither.
    """
    if named := os.environ.get("MINIDL_CACHE"):
        return Path(named)
    try:
        return Path.home() / ".cache" / "minidl"
    except RuntimeError:
        raise DataError(
            "download: expected a home folder for the cache, but this user has none; set "
            "MINIDL_CACHE to a folder, or fetch the files by hand and name their folder as root"
        ) from None


def fetch(remote: Remote, mirrors: Sequence[str], folder: Path) -> Path:
    """The path of `remote` in `folder`, downloaded from the first of `mirrors` that has it whole.

    A mirror is an address that ends in "/"; the file's name is put after it. The file appears
    under its name only when its size and SHA-256 are right.
    Raises: DataError naming every mirror and why it failed.
    """
    from http.client import HTTPException  # with urllib, a third of minidl's import time

    target = folder / remote.name
    reasons = []
    try:
        if kind_of(target) == "file" and _sha256(target) == remote.sha256:
            _remove_abandoned(remote, folder)
            return target
        folder.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(remote, folder)
    except (OSError, DataError) as error:
        reasons.append((str(folder), f"the cache folder cannot be used: {error}"))
        mirrors = ()
    for mirror in mirrors:
        try:
            _download(remote, mirror + remote.name, target)
            return target
        except (OSError, HTTPException, ValueError) as error:
            reasons.append((mirror + remote.name, str(error) or type(error).__name__))
    raise DataError(
        f"download: could not fetch {remote.name} into {str(folder)!r}\n"
        + "".join(f"  {place}: {reason}\n" for place, reason in reasons)
        + "check the connection and the free space, set MINIDL_CACHE to another folder, or fetch "
        "the files by hand and name their folder as root",
        files=reasons,
    )


def _download(remote: Remote, address: str, target: Path) -> None:
    import urllib.request

    digest, received = hashlib.sha256(), 0
    part, partial = _new_part(remote, target.parent)
    try:
        with (
            os.fdopen(part, "wb") as file,
            urllib.request.urlopen(address, timeout=30) as response,
            progress_bar(f"download {remote.name}", remote.size) as advance,
        ):
            while received <= remote.size and (piece := response.read(_CHUNK)):
                file.write(piece)
                digest.update(piece)
                received += len(piece)
                advance(len(piece))
        if received != remote.size:
            found = f"{received:,}" if received < remote.size else "more"
            raise ValueError(f"expected {remote.size:,} bytes, got {found}")
        if digest.hexdigest() != remote.sha256:
            raise ValueError(f"expected SHA-256 {remote.sha256}, got {digest.hexdigest()}")
        os.replace(partial, target)
    finally:
        Path(partial).unlink(missing_ok=True)


def _new_part(remote: Remote, folder: Path) -> tuple[int, str]:
    """An empty file to download into, locked as long as this process has it open."""
    while True:
        part, path = tempfile.mkstemp(prefix=f".{remote.name}-", suffix=_PART, dir=folder)
        _lock(part)
        if os.path.exists(path):  # else another process took it for abandoned, before the lock
            return part, path
        os.close(part)


def _remove_abandoned(remote: Remote, folder: Path) -> None:
    """Remove the parts of downloads that were killed: those that no process holds locked."""
    for path in folder.glob(f".{glob.escape(remote.name)}-*{_PART}"):
        with contextlib.suppress(OSError), path.open("rb") as file:
            if _lock(file.fileno()):
                path.unlink()


def _lock(file: int) -> bool:
    """Lock an open file until it is closed or the process dies; False if another one holds it.

    Windows has no such lock, and does not let a file be removed that is open.
    """
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
