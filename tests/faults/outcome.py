"""What a run left in its folder."""

import numpy as np

from minidl.train import Checkpoints, History
from minidl.train.arrays_file import read_arrays


def result(out):
    """Weights and history of a run's folder, without the seconds."""
    arrays, _ = read_arrays(out / "model.safetensors")
    history = History.from_csv(out / "history.csv")
    tables = {**history.steps, **{f"epoch {name}": c for name, c in history.epochs.items()}}
    del tables["epoch seconds"]
    return arrays, tables


def assert_same(found, expected):
    for ours, theirs in zip(found, expected, strict=True):
        assert list(ours) == list(theirs)
        for name in ours:
            np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)


def newest_step(out):
    """The step of the newest checkpoint, after reading all files that a kill may have hurt."""
    paths = Checkpoints(out / "checkpoint").paths()
    for path in paths:
        _, state = read_arrays(path)  # raises if it is damaged
        assert state is not None
    if (out / "model.safetensors").exists():
        read_arrays(out / "model.safetensors")
    return int(paths[0].stem.removeprefix("step-")) if paths else -1
