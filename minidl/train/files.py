"""Arrays on the disk: safetensors, written whole or not at all, with a checksum."""

import contextlib
import hashlib
import json
import os
import stat
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CheckpointError

PathLike = str | os.PathLike[str]
_ENTRY = "minidl"
_Arrays = dict[str, np.ndarray]


def write_bytes(path: PathLike, content: bytes) -> None:
    """Replace the file at `path` by `content`: whoever reads it finds the old bytes or the new.

    The bytes go to a temporary file in the same folder and reach the disk before the name moves,
    so that neither a kill nor a power cut leaves half a file.
    Raises: CheckpointError where the folder cannot be written or the disk is full.
    """
    target = Path(path)
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


def remove_parts(folder: PathLike, *names: str) -> None:
    """Remove what a kill left half-written of the files so named ("step-*" names several)."""
    for name in names:
        for part in Path(folder).glob(f".{name}-*.part"):
            with contextlib.suppress(OSError):  # what is written next says why
                part.unlink()


def check_ordinary(path: PathLike) -> None:
    """Raises: CheckpointError for a pipe or a device, which to open would wait for ever."""
    with contextlib.suppress(OSError):  # what opens the file says what is wrong with it
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise CheckpointError(f"cannot read {str(path)!r}: it is no ordinary file")


def append_text(path: PathLike, text: str) -> None:
    """Add lines to a file. Raises: CheckpointError where it cannot be written."""
    try:
        with open(path, "a", encoding="utf-8", newline="") as file:
            file.write(text)
    except OSError as error:
        raise CheckpointError(f"cannot write {str(path)!r}: {error.strerror or error}") from None


def write_arrays(path: PathLike, arrays: _Arrays, state: Any = None) -> None:
    """Arrays by name, and a state of plain JSON values, into one safetensors file.

    Raises: CheckpointError where the file cannot be written.
    """
    from safetensors.numpy import save

    # order="C": safetensors writes the memory as it lies.
    arrays = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    text = json.dumps(state)
    # One entry, because safetensors writes several in any order: equal runs leave equal files.
    entry = json.dumps({"sha256": _digest(arrays, text), "state": text})
    write_bytes(path, save(arrays, {_ENTRY: entry}))


def read_arrays(path: PathLike) -> tuple[_Arrays, Any]:
    """(arrays, state) as `write_arrays` wrote them; state is None in a file from elsewhere.

    Raises: CheckpointError if the file is missing, cut short, or differs from what was written.
    """
    from safetensors import SafetensorError, safe_open

    name = str(Path(path))
    check_ordinary(path)
    try:
        with safe_open(name, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        odd = sorted({str(a.dtype) for a in arrays.values() if a.dtype.kind not in "fiub"})
        if odd:  # bfloat16 and complex numbers among them
            raise TypeError(", ".join(odd))
    except FileNotFoundError:
        raise CheckpointError(f"cannot read {name!r}: there is no such file") from None
    except OSError as error:
        raise CheckpointError(f"cannot read {name!r}: {error.strerror or error}") from None
    except (SafetensorError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(
            f"cannot read {name!r}: it is damaged, or no safetensors file of ordinary number "
            f"types ({error})"
        ) from None
    if _ENTRY not in metadata:
        return arrays, None
    text, digest = _entry(metadata[_ENTRY])
    if digest != _digest(arrays, text):
        raise CheckpointError(
            f"cannot read {name!r}: it is damaged (its content does not have the SHA-256 that was "
            "written with it); use another copy or an earlier checkpoint"
        )
    return arrays, json.loads(text)


def _entry(metadata: str) -> tuple[str, str]:
    """(state, SHA-256) of what `write_arrays` noted; empty where it is damaged."""
    try:
        entry = json.loads(metadata)
        return str(entry["state"]), str(entry["sha256"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return "", ""


def _digest(arrays: _Arrays, text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


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
