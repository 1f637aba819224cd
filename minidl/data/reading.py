"""The files of a folder as pictures: in memory, in a file of pixels, or left where they are."""

import contextlib
import hashlib
import json
import math
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CheckpointError, ConfigError, DataError, MinidlError
from ..files import PathLike, read_text, write_text
from .download import cache_folder
from .image_files import Files, bad_files
from .images import Size, height_width
from .parts import Bad
from .pictures import Pictures, Pixels, with_16_bits

_CGROUP = Path("/sys/fs/cgroup")  # where Linux says how much memory a container may use
_ABANDONED = 86400  # seconds without a change after which a half-written cache is removed
_MEMINFO = Path("/proc/meminfo")


def read_files(
    folder: Path,
    paths: Sequence[str],
    bad: Bad,
    *,
    gray: bool,
    size: Size | None,
    skip_bad: bool,
    lazy: bool | None,
    cache: bool | PathLike,
    progress: bool,
) -> tuple[Pictures, list[int], Bad]:
    """(pictures, the indices of their files among the paths, the files left out with reasons).

    bad: folders and files that could not be listed, with reasons; they are named with the rest.
    The other options are those of ImageFolder.
    Raises: DataError naming all bad files, unless skip_bad; ConfigError for lazy with a cache.
    """
    if lazy and cache:
        raise ConfigError("ImageFolder: expected lazy=True or a cache, got both; leave one out")
    if size is not None:
        height_width(size, "ImageFolder")
    files, unread = _opened(paths, gray, size)
    if files is None:  # not one of them can be read
        bad = bad + unread
        _refuse(folder, [], [] if skip_bad else bad, len(paths))
        return Pixels(np.empty((0, 1, 1, 1), np.uint8)), [], bad
    room = None
    if not lazy and not cache:
        room = _room(files, unless_half=lazy is None)
        need = f"{_size(files)}: {math.prod(files.shape) / 1e6:,.1f} MB"
        if progress and room is not None:
            _tell(f"{need} of memory")
        elif progress:
            _tell(f"{need}, more than half of the free memory, so they stay in their files")
        lazy = room is None
    if lazy and not skip_bad:
        _refuse(folder, [], bad, len(paths))
        return files, [*range(len(paths))], []
    if lazy:
        odd: Bad = []
        unread = []
        kept = [place for place, _ in files.good(progress, "look at images", odd, unread)]
        _refuse(folder, odd, [], len(paths))
        files = Files([paths[i] for i in kept], files.shape[1:], gray, size, files.slow)
        return files, kept, bad + unread
    if room is None:
        pictures, kept, unread = _cached(folder, files, cache, skip_bad, progress)
        _refuse(folder, [], [] if skip_bad else bad + unread, len(paths))
    else:
        pictures, kept, unread, odd = _in_memory(files, room, progress)
        _refuse(folder, odd, [] if skip_bad else bad + unread, len(paths))
    return pictures, kept, bad + unread


def _opened(paths: Sequence[str], gray: bool, size: Size | None) -> tuple[Files | None, Bad]:
    """(the files, with the shape of the first that can be read; those before it, which cannot)."""
    bad: Bad = []
    for place in range(len(paths)):
        files = Files(paths, (0, 0, 0), gray, size)
        [(_, found)] = files.read([place])
        if not isinstance(found, DataError):
            return Files(paths, found.shape, gray, size, files.takes_long(place)), bad
        bad += found.files
    return None, bad


def _in_memory(
    files: Files, array: np.ndarray, progress: bool
) -> tuple[Pixels, list[int], Bad, Bad]:
    odd: Bad = []
    bad: Bad = []
    kept: list[int] = []
    title = f"read {_size(files)} into {array.nbytes / 1e6:,.0f} MB"
    for place, pixels in files.good(progress, title, odd, bad):
        if pixels.dtype == np.uint16 and array.dtype == np.uint8:
            array = with_16_bits(array)
        array[len(kept)] = pixels if array.dtype == pixels.dtype else with_16_bits(pixels)
        kept.append(place)
    return Pixels(array[: len(kept)]), kept, bad, odd


def _room(files: Files, unless_half: bool) -> np.ndarray | None:
    """Memory for all pixels; None where they would take more than half of what is free.

    unless_half: whether that limit of a half holds. Without it, Raises: DataError where there is
    not enough memory for all.
    """
    need, free = math.prod(files.shape), free_memory()
    if unless_half and free is not None and need > free / 2:
        return None
    try:
        return np.empty(files.shape, np.uint8)
    except (MemoryError, ValueError):
        if unless_half:
            return None
        raise DataError(
            f"ImageFolder: expected {_size(files)} to fit into memory, but they need "
            f"{1e-9 * need:,.1f} GB; leave lazy=False out, so that they stay in their files, or "
            "give a smaller size (--size), or gray=True (--gray)"
        ) from None


def _cached(
    folder: Path, files: Files, cache: bool | PathLike, skip_bad: bool, progress: bool
) -> tuple[Pixels, list[int], Bad]:
    """The pixels, mapped from a file that holds them all; the first call writes that file.

    Its name is a hash of every image file's path, size and time of change, and of the options. When
    one of these changes, another file is written.
    """
    home = cache_folder() / "pixels" if cache is True else Path(str(cache))
    name = home / f"{folder.resolve().name}-{_identity(folder, files)}"
    pixels_at, facts_at = name.with_suffix(".npy"), name.with_suffix(".json")
    try:
        if not facts_at.exists():
            home.mkdir(parents=True, exist_ok=True)
            _write_cache(folder, files, pixels_at, facts_at, skip_bad, progress)
    except MinidlError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        reason = getattr(error, "strerror", None) or error
        raise DataError(
            f"ImageFolder: cannot keep the pixels in {str(home)!r}: {reason}; "
            f"they need {1e-9 * math.prod(files.shape):,.1f} GB; name another folder (cache=...), "
            "or leave the cache out"
        ) from None
    try:
        return _read_cache(files, pixels_at, facts_at)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(
            f"ImageFolder: expected the pixels of {str(folder)!r} in {str(pixels_at)!r}, but the "
            f"file is damaged ({error}); remove it and {facts_at.name}"
        ) from None


def _read_cache(files: Files, pixels_at: Path, facts_at: Path) -> tuple[Pixels, list[int], Bad]:
    """Raises: whatever a file has that `_write_cache` did not write."""
    facts = json.loads(read_text(facts_at))
    array = np.lib.format.open_memmap(pixels_at, mode="r")
    kept, bad = list(facts["kept"]), [(str(p), str(r)) for p, r in facts["bad"]]
    if array.shape != files.shape or array.dtype != np.uint8:
        raise ValueError(f"it has the shape {array.shape}")
    left_out = {path for path, _ in bad}
    if kept != [place for place, path in enumerate(files.paths) if path not in left_out]:
        raise ValueError(f"it is said to hold {len(kept)} images and to lack {len(bad)}")
    return Pixels(array[: len(kept)]), kept, bad


def _write_cache(
    folder: Path, files: Files, pixels_at: Path, facts_at: Path, skip_bad: bool, progress: bool
) -> None:
    """Decode all files into pixels_at. The file of facts is written last: where it exists, the
    cache is complete.
    """
    odd: Bad = []
    bad: Bad = []
    kept: list[int] = []
    for left in pixels_at.parent.glob(".*.npy-*.part"):  # by a process that was killed
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > _ABANDONED:
                left.unlink()
    part = pixels_at.with_name(f".{pixels_at.name}-{os.getpid()}.part")
    title = f"decode {_size(files)} into {str(pixels_at)!r}"
    try:
        array: Any = np.lib.format.open_memmap(part, "w+", np.uint8, files.shape)
        with contextlib.suppress(AttributeError), open(part, "r+b") as room:
            # A full disk shows here. Later a write to the mapped memory would kill the process.
            os.posix_fallocate(room.fileno(), 0, part.stat().st_size)
        for place, pixels in files.good(progress, title, odd, bad):
            if pixels.dtype == np.uint16:
                raise ConfigError(
                    "ImageFolder: expected images of 8 bits for a cache, but "
                    f"{files.paths[place]!r} has 16; leave the cache out"
                )
            array[len(kept)] = pixels
            kept.append(place)
        _refuse(folder, odd, [] if skip_bad else bad, len(files))
        array.flush()  # where files were left out, the end of the array stays empty
        os.replace(part, pixels_at)
        try:
            write_text(facts_at, json.dumps({"kept": kept, "bad": bad}))
        except CheckpointError:  # on a full disk nothing is left that nobody can use
            pixels_at.unlink(missing_ok=True)
            raise
    finally:
        part.unlink(missing_ok=True)


def _identity(folder: Path, files: Files) -> str:
    total = hashlib.blake2b(repr((files.gray, files.size, files.shape)).encode(), digest_size=8)
    for path in files.paths:
        name = os.path.relpath(path, folder)
        try:
            found = os.stat(path)
            state = f"{name}\0{found.st_size}\0{found.st_mtime_ns}\0"
        except OSError:  # a link to nowhere is a bad file like others
            state = f"{name}\0"
        total.update(state.encode(errors="surrogateescape"))
    return total.hexdigest()


def free_memory() -> int | None:
    """Bytes that this process may still take, or None where the system does not say."""
    try:
        lines = _MEMINFO.read_text(encoding="ascii").splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvail"))
    except (OSError, ValueError, StopIteration):
        return None
    try:
        limit = int((_CGROUP / "memory.max").read_text())
        used = int((_CGROUP / "memory.current").read_text())
        return max(0, min(free, limit - used))
    except (OSError, ValueError):  # no container, or "max"
        return free


def _refuse(folder: Path, odd: Bad, bad: Bad, total: int) -> None:
    if odd or bad:
        raise bad_files(folder, odd, bad, total)


def _size(files: Files) -> str:
    return f"{len(files):,} images of {'x'.join(map(str, files.shape[1:]))}"


def _tell(line: str) -> None:
    with contextlib.suppress(OSError, ValueError, AttributeError):  # no terminal may end a run
        print(line, file=sys.stderr, flush=True)
