"""Files of weights, and checkpoints from which a run continues bit for bit."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .. import device
from ..errors import CheckpointError
from ..files import PathLike, remove_parts
from ..nn import Module
from ..tensor import Tensor
from .arrays_file import read_arrays, write_arrays

_NAME = re.compile(r"step-(\d+)\.safetensors")


def save(path: PathLike, model: Module, *, finite: bool = True) -> None:
    """Write the model's parameters and buffers to a safetensors file, whole or not at all.

    The names are those of `model.state_dict()`. Nothing is pickled: reading it runs no code.
    finite: refuse NaN and infinity, so that they do not overwrite a good file. With False they are
    written too, for a search for the fault.
    Raises: CheckpointError where the file cannot be written, or a number is not finite.
    """
    arrays = host_arrays(_is_model("save", path, model).state_dict())
    if finite and (bad := not_finite(arrays)):
        raise CheckpointError(
            f"save: expected finite weights, got {bad}; {str(path)!r} was not touched "
            "(finite=False writes them all the same)"
        )
    write_arrays(path, arrays)


def load(path: PathLike, model: Module, *, finite: bool = True) -> Module:
    """Read a safetensors file into the model; returns the model.

    A file from PyTorch fits too, where names and shapes agree. The model keeps its dtypes.
    finite: refuse NaN, infinity and numbers beyond the model's dtype. With False they are read.
    Raises: CheckpointError if the file is missing or damaged, if a number is not finite, or if
    names or shapes do not fit the model (it lists every difference). The model is then unchanged.
    """
    _is_model("load", path, model)
    arrays, _ = read_arrays(path)
    put_into(model, arrays, str(Path(path)), finite=finite)
    return model


def not_finite(arrays: Mapping[str, np.ndarray]) -> str:
    """The arrays that hold NaN or infinity, with the counts, as text; "" for none."""
    counts = {name: int((~np.isfinite(array)).sum()) for name, array in arrays.items()}
    bad = [
        f"{name} ({count:,} of {arrays[name].size:,})" for name, count in counts.items() if count
    ]
    shown = ", ".join(bad[:5]) + (", ..." if len(bad) > 5 else "")
    return f"NaN or infinity in {shown}" if bad else ""


def _is_model(call: str, path: Any, model: Any) -> Module:
    if isinstance(model, Module) and isinstance(path, str | os.PathLike):
        return model
    raise CheckpointError(
        f"{call}: expected {call}(path, model), a file's name and an nn.Module, got "
        f"{type(path).__name__} and {type(model).__name__}"
    )


def put_into(
    model: Module, arrays: dict[str, np.ndarray], source: str, *, finite: bool = True
) -> None:
    """Load arrays by name into the model, after all names, shapes and numbers were checked.

    source: the arrays' origin, for errors.
    """
    state = model.state_dict()
    expected = {name: value.shape for name, value in state.items()}
    found = {name: array.shape for name, array in arrays.items()}
    differences = [
        f"  {name}: expected {expected.get(name, 'nothing')}, found {found.get(name, 'nothing')}"
        for name in dict.fromkeys([*expected, *found])
        if expected.get(name) != found.get(name)
    ]
    if differences:
        raise CheckpointError(
            f"load: {source!r} does not fit the model:\n"
            + "\n".join(differences)
            + "\nbuild the model with the arguments that it was saved with"
        )
    with np.errstate(over="ignore"):
        cast = {name: array.astype(state[name].dtype) for name, array in arrays.items()}
    if finite and (bad := not_finite(cast)):
        raise CheckpointError(
            f"load: expected finite weights in {source!r}, got {bad}; use an earlier checkpoint, "
            "or train again (md.load(path, model, finite=False) reads them all the same)"
        )
    model.load_state_dict(cast)


def host_arrays(state: dict[str, Any]) -> dict[str, np.ndarray]:
    """The values of a state_dict as NumPy arrays."""
    return {
        name: device.to_host(value.data if isinstance(value, Tensor) else value)
        for name, value in state.items()
    }


class Checkpoints:
    """A folder of checkpoints, `step-00000120.safetensors`; the newest `keep` of them stay.

    Each is one file that appears whole, so a kill at any moment leaves the earlier ones as they
    were.
    """

    def __init__(self, folder: PathLike, keep: int = 3) -> None:
        self.folder = Path(folder)
        self.keep = keep

    def paths(self) -> list[Path]:
        """The checkpoints, the newest first."""
        found = self.folder.iterdir() if self.folder.is_dir() else []
        return sorted((p for p in found if _NAME.fullmatch(p.name)), key=_step, reverse=True)

    def write(self, step: int, arrays: dict[str, np.ndarray], state: Any) -> Path:
        """Write the checkpoint of `step`, then remove the oldest ones and half-written files.

        Raises: CheckpointError where it cannot be written.
        """
        path = self.folder / f"step-{step:08d}.safetensors"
        write_arrays(path, arrays, state)
        for old in self.paths()[self.keep :]:
            old.unlink(missing_ok=True)
        remove_parts(self.folder, "step-*")
        return path

    def newest(self) -> tuple[dict[str, np.ndarray], Any, list[str]] | None:
        """(arrays, state, warnings) of the newest checkpoint that is whole; None without any.

        warnings: one line for each newer checkpoint that was damaged.
        Raises: CheckpointError if there are checkpoints and all are damaged.
        """
        warnings: list[str] = []
        for path in self.paths():
            try:
                arrays, state = read_arrays(path)
                if state is None:
                    raise CheckpointError(f"cannot read {str(path)!r}: it is no checkpoint")
                return arrays, state, warnings
            except CheckpointError as error:
                warnings.append(str(error))
        if warnings:
            raise CheckpointError(
                "resume: no checkpoint can be read:\n  "
                + "\n  ".join(warnings)
                + "\nstart the run again in another folder"
            )
        return None


def _step(path: Path) -> int:
    match = _NAME.fullmatch(path.name)
    assert match is not None
    return int(match[1])


def pack(value: Any, name: str, arrays: dict[str, np.ndarray]) -> Any:
    """A nested state as JSON values. Its arrays go to `arrays`, each under its path in the state.

    A dictionary becomes a list of pairs, because JSON would turn its integer keys to text.
    """
    if isinstance(value, dict):
        pairs = [[key, pack(item, f"{name}.{key}", arrays)] for key, item in value.items()]
        return {"dict": pairs}
    if isinstance(value, list | tuple):
        return {"list": [pack(item, f"{name}.{i}", arrays) for i, item in enumerate(value)]}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    data = value.data if isinstance(value, Tensor) else value
    arrays[name] = device.to_host(data)
    return {"array": name}


def unpack(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    """The inverse of `pack`, with lists for tuples and NumPy arrays for tensors."""
    if not isinstance(value, dict):
        return value
    if "dict" in value:
        return {key: unpack(item, arrays) for key, item in value["dict"]}
    if "list" in value:
        return [unpack(item, arrays) for item in value["list"]]
    return arrays[value["array"]]
