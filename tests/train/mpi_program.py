"""A small training for several processes: mpiexec -n 2 python -m tests.train.mpi_program CASE OUT.

CASE is the JSON of `Case`'s fields. Process 0 writes what came out to OUT.npz.
"""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field

import numpy as np

import minidl as md
from minidl import data, nn, ops, optim

COUNT = 58  # not a multiple of the batch: the last one has 10 images


@dataclass
class Case:
    """dtype, loss: by name. trainer, fit: further options. hook: what a process does, and when.
    huge: the number of an image that overflows.
    """

    dtype: str = "float64"
    loss: str = "cross_entropy"
    trainer: dict = field(default_factory=dict)
    fit: dict = field(default_factory=dict)
    epochs: int = 3
    seed: int = 1
    augment: bool = True
    hook: str = ""
    huge: int | None = None


def images(count=COUNT, seed=3, dtype="float64"):
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    pixels = rng.random((count, 1, 6, 6))
    pixels[:, 0, 0, 0] += labels
    return data.Dataset(pixels.astype(dtype), labels)


def network(dtype):
    model = nn.Sequential(
        nn.Conv2d(1, 3, 3, padding="same", bias=False),
        nn.BatchNorm2d(3),
        nn.ReLU(),
        nn.Conv2d(3, 4, 3, stride=2, bias=False),
        nn.BatchNorm2d(4),
        nn.Tanh(),
        nn.Dropout(0.3),
        nn.Flatten(),
        nn.Dense(16, 3),
    )
    for tensor in model._state().values():
        if tensor.dtype.kind == "f":
            tensor.data = tensor.data.astype(dtype)
    return model


def losses(model):
    weights = np.array([1.0, 2.0, 3.0])
    return {
        "cross_entropy": ops.cross_entropy,
        "weighted": lambda y, t: ops.cross_entropy(y, t, weight=weights),
        "penalty": lambda y, t: ops.cross_entropy(y, t) + 0.1 * (model.layers[0].weight ** 2).sum(),
        "pairs": lambda y, t: ((y[0] - y) ** 2).mean() + ops.cross_entropy(y, t),
    }


def share_of_largest(outputs, targets):
    """A metric of a whole part: how often class 0 gets the most."""
    return float((outputs.argmax(1) == 0).mean())


class Hook:
    """Does something in one process, at a step: "raise 1 5" in process 1 before step 5."""

    def __init__(self, what, rank):
        self.what, who, step = what.split()
        self.mine, self.step = int(who) == rank, int(step)

    def start(self, trainer):
        if trainer.team.rank == 0:
            print("ready", flush=True)

    def before_step(self, trainer, step):
        if self.what == "wait":
            time.sleep(0.05)
        if step != self.step or not self.mine:
            return
        if self.what == "unread":  # the launcher's part on this machine is held up for a while
            launcher = os.getppid()
            os.kill(launcher, signal.SIGSTOP)
            subprocess.Popen(["sh", "-c", f"sleep 4; kill -CONT {launcher}"])
        if self.what in ("raise", "unread"):
            raise RuntimeError("the disk of this machine is gone")
        if self.what == "exit":
            sys.exit(3)


class Counting(np.ndarray):
    """Images that count how many of them are read."""

    read = 0

    def __getitem__(self, index):
        found = super().__getitem__(index)
        if isinstance(index, np.ndarray):
            Counting.read += len(index)
        return found.view(np.ndarray)


def train(case, out=None):
    """(the trainer, what came out as arrays by name)."""
    md.manual_seed(case.seed)
    model = network(case.dtype)
    options = {"schedule": optim.cosine(0.01, 40), "clip": 1.0, "seed": 7} | case.trainer
    trainer = md.Trainer(
        model,
        loss=losses(model)[case.loss],
        optimizer=optim.Adam(model.parameters(), 0.01),
        metrics=[share_of_largest],
        **options,
    )
    monitor = md.health.GradientMonitor(model)
    trainer.monitors = (monitor,)
    if case.hook:
        trainer.monitors += (Hook(case.hook, trainer.team.rank),)
    transform = data.compose(data.random_crop(6, padding=1), data.random_flip())
    part, held_out = images(dtype=case.dtype), images(300, 4, case.dtype)
    if case.huge is not None:
        part.source[case.huge] = np.finfo(case.dtype).max
    part.source = part.source.view(Counting)
    fit = {"batch_size": 16, "progress": False, "out": out} | case.fit
    history = trainer.fit(
        part, validation=held_out, epochs=case.epochs,
        transform=transform if case.augment else None, **fit,
    )  # fmt: skip
    found = {f"step {n}": c for n, c in history.steps.items()}
    found |= {f"epoch {n}": c for n, c in history.epochs.items() if n != "seconds"}
    found |= {f"weight {n}": np.asarray(a) for n, a in model.state_dict().items()}
    found |= {f"monitor {n}": monitor.column(n) for n in md.health.monitor.FIELDS[2:]}
    found["evaluated"] = np.array(list(trainer.evaluate(held_out, batch_size=32).values()))
    found["predicted"] = trainer.predict(held_out, batch_size=32)
    found["read"] = np.array(trainer.team.all([Counting.read]))
    moments = [np.asarray(a) for n, a in model.state_dict().items() if "running" in n]
    found["apart"] = np.ptp(trainer.team.all([np.concatenate(moments)]), axis=0)
    return trainer, found


if __name__ == "__main__":
    case, path = Case(**json.loads(sys.argv[1])), sys.argv[2]
    trainer, found = train(case, path if case.fit.pop("into_folder", False) else None)
    if trainer.team.rank == 0:
        np.savez(f"{path}.npz", **found)
    print("done", flush=True)
