"""Arrays in a file: safetensors with a checksum, so that damage is found when they are read."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CheckpointError
from ..files import PathLike, check_ordinary, write_bytes

_ENTRY, _RESERVED = "minidl", "__metadata__"
_Arrays = dict[str, np.ndarray]


def write_arrays(path: PathLike, arrays: _Arrays, state: Any = None) -> None:
    """Arrays by name, and a state of plain JSON values, into one safetensors file.

    Raises: CheckpointError where the file cannot be written, or `read_arrays` would refuse it.
    """
    from safetensors.numpy import save

    # order="C": safetensors writes an array's bytes in memory order and takes them for row order.
    # It keeps no byte order either: all files have this machine's, as those of other programs.
    arrays = {
        name: np.asarray(array, array.dtype.newbyteorder("="), order="C")
        for name, array in arrays.items()
    }
    for name, array in arrays.items():
        if array.dtype.kind not in "fiub" or array.itemsize > 8 or name == _RESERVED:
            raise CheckpointError(
                f"cannot write {str(path)!r}: expected arrays of ordinary number types, none of "
                f"the name {_RESERVED!r}, got {name!r} of {array.dtype}"
            )
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
    """(state, SHA-256) as `write_arrays` wrote them; two empty texts if they are damaged."""
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
