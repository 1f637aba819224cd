"""Fetching a file once: several mirrors, a known size and checksum, never half a file."""

import hashlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ..errors import DataError
from .progress import progress_bar

_CHUNK = 2**18


class Remote(NamedTuple):
    """A file that is known byte for byte."""

    name: str
    size: int
    sha256: str


def cache_folder() -> Path:
    """Where downloads are kept: $MINIDL_CACHE, or .cache/minidl in the home folder."""
    return Path(os.environ.get("MINIDL_CACHE") or Path.home() / ".cache" / "minidl")


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
        if target.is_file() and _sha256(target) == remote.sha256:
            return target
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
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
    part, partial = tempfile.mkstemp(prefix=f".{remote.name}-", suffix=".part", dir=target.parent)
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


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
