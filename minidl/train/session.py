"""The folder of a training: what is saved there, and how a training goes on from it."""

import math
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from .. import rng
from ..data import DataLoader, Dataset
from ..errors import CheckpointError
from ..files import PathLike, append_text, remove_parts
from . import recipe
from .arrays_file import read_arrays
from .checkpoint import Checkpoints, host_arrays, not_finite, pack, put_into, save, unpack
from .history import History
from .nonfinite import NotFiniteError
from .settings import Settings

BEST = "best.safetensors"  # the weights of the epoch with the lowest validation loss


class Session:
    """The position of a training, and the files that keep its state.

    The position (step, epoch, batch), each counted from 0, is that of the next batch. Without `out`
    nothing is written.
    """

    def __init__(
        self, job: Settings, loader: DataLoader, history: History, out: PathLike | None
    ) -> None:
        self.job, self.loader, self.history = job, loader, history
        self.out = None if out is None else Path(out)
        self.step = self.epoch = self.batch = 0
        self.kept: int | None = None  # the step of the newest checkpoint
        # Whether the state is that between two steps. Inside a step and at the end of an epoch it
        # is partly old and partly new, and must not be saved.
        self.whole = True
        self._written = 0  # rows of the history that are in history.csv
        self._recipe: dict[str, Any] = {}
        self._best: dict[str, np.ndarray] | None = None  # the best weights, where there is no out
        self._begun = time.perf_counter()  # when this epoch began; pauses of the run do not count

    def begin(self, *, resume: bool, validation: Dataset | None = None) -> None:
        """Start in an empty folder, or go on from the newest checkpoint, with the same validation.

        Other validation data would be one history with the old, and one choice of the best epoch.
        """
        self._begun = time.perf_counter()
        if self.out is None:
            self.check_weights()
            return
        remove_parts(self.out, "history.csv", "model.safetensors", BEST)
        self._recipe = recipe.describe(self.job, self.loader)
        self._recipe["validation data"] = (
            "none" if validation is None else recipe.digest(validation)
        )
        checkpoints = Checkpoints(self.out / "checkpoint")
        newest = checkpoints.newest() if resume else None
        if newest is not None:
            self._restore(*newest)
        elif not resume and checkpoints.paths():
            raise CheckpointError(
                f"fit: {str(self.out)!r} holds a run already; choose another out, or resume=True "
                "to go on with it"
            )
        else:
            for name in ("model.safetensors", BEST):
                if (self.out / name).exists():
                    raise CheckpointError(
                        f"fit: {str(self.out)!r} holds {name!r} but no checkpoint to go on from, "
                        "and a new run would replace it; choose another out"
                    )
        self.history.to_csv(self.out / "history.csv")
        self._written = len(self.history)
        if newest is None:
            self.save()

    @property
    def seconds(self) -> float:
        """For how many seconds this epoch has been trained."""
        return time.perf_counter() - self._begun

    def next_epoch(self) -> None:
        """Move to the first batch of the next epoch."""
        self.epoch, self.batch = self.epoch + 1, 0
        self.whole = True
        self._begun = time.perf_counter()

    def save(self) -> None:
        """Write a checkpoint, the model's file and the rows of the history."""
        weights = self.check_weights()
        if self.out is None or self.kept == self.step:
            return
        arrays, state = self.state(weights)
        state |= {"columns": [self.history.step_names, self.history.epoch_names]}
        state |= {"run": self._recipe}
        Checkpoints(self.out / "checkpoint").write(self.step, arrays, state)
        save(self.out / "model.safetensors", self.job.model)
        self.kept = self.step
        self.close()

    def keep_best(self) -> None:
        """Keep the weights if the epoch that has just ended has the lowest validation loss."""
        if self.history.best_epoch != self.history.last["epoch"] or self.job.team.rank:
            return
        if self.out is not None:
            save(self.out / BEST, self.job.model)
        else:
            self._best = {n: a.copy() for n, a in host_arrays(self.job.model.state_dict()).items()}

    def take_best(self) -> None:
        """Give the model the weights of its best epoch."""
        best = self.job.team.first(self._best_weights)
        if best is not None:
            put_into(self.job.model, best, "the best epoch")
        elif self.out is not None and self.history.best_epoch is not None:
            warnings.warn(
                f"fit: {str(self.out / BEST)!r} is missing, so the weights are those of the last "
                f"epoch, not of epoch {self.history.best_epoch}, the best",
                stacklevel=4,
            )

    def _best_weights(self) -> dict[str, np.ndarray] | None:
        if self.out is not None and (self.out / BEST).exists():
            return read_arrays(self.out / BEST)[0]
        return self._best

    def state(
        self, weights: dict[str, np.ndarray] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """The state of the training, as arrays and plain values; `take` puts it back.

        weights: the model's state, if the caller has it already.
        """
        if weights is None:
            weights = host_arrays(self.job.model.state_dict())
        arrays = {f"model.{name}": array for name, array in weights.items()}
        arrays |= {f"history.{name}": a for name, a in self.history.to_arrays().items()}
        return arrays, {
            "position": [self.step, self.epoch, self.batch],
            "optimizer": pack(self.job.optimizer.state_dict(), "optimizer", arrays),
            "random": rng.generator().bit_generator.state,
            "elapsed": self.seconds if self.batch else 0.0,
        }

    def take(self, arrays: dict[str, np.ndarray], state: dict[str, Any]) -> None:
        """Continue from the `state` of a checkpoint, or of another process."""
        self.history.set_arrays({n: arrays[f"history.{n}"] for n in ("steps", "epochs")})
        model = {n[6:]: a for n, a in arrays.items() if n.startswith("model.")}
        put_into(self.job.model, model, str(self.out))
        self.job.optimizer.load_state_dict(unpack(state["optimizer"], arrays))
        rng.generator().bit_generator.state = state["random"]
        self.step, self.epoch, self.batch = state["position"]
        self._begun = time.perf_counter() - state["elapsed"]

    def check_weights(self) -> dict[str, np.ndarray]:
        """The model's state. Raises: NotFiniteError for NaN or infinity. No file is written."""
        weights = host_arrays(self.job.model.state_dict())
        if bad := not_finite(weights):
            when = f"the update of step {self.step - 1} overflowed" if self.step else "at the start"
            raise NotFiniteError(
                f"fit: expected finite weights, got {bad}, {when}{self.keeps()}",
                "rate" if self.step else "init",
                float(self.job.optimizer.lr),
            )
        return weights

    def keeps(self) -> str:
        """The end of an error message: where the last good weights are."""
        if self.kept is None:
            return ""
        return f"; {str(self.out)!r} keeps the weights and the checkpoint of step {self.kept}"

    def close(self) -> None:
        """Write the rows of the history that are not in history.csv yet."""
        if self.out is not None and self._written < len(self.history):
            append_text(self.out / "history.csv", self.history.csv(self._written))
            self._written = len(self.history)

    def stop(self, epochs: int) -> str:
        """Save what can be saved when a signal ends the training; says how to go on."""
        done = f"stopped at step {self.step} (epoch {min(self.epoch + 1, epochs)})"
        if self.out is None:
            return f"{done}; without out, nothing was written"
        if self.whole:
            self.save()
        return (
            f"{done}; the checkpoint of step {self.kept} is in {str(self.out)!r}: go on with "
            "resume=True (--resume on the command line)"
        )

    def _restore(
        self, arrays: dict[str, np.ndarray], state: dict[str, Any], damaged: list[str]
    ) -> None:
        for line in damaged:
            warnings.warn(f"resume: {line}; going on from an earlier one", stacklevel=4)
        assert self.out is not None
        job = self.job
        if job.seed is None:
            self.loader.seed = self._recipe["seed"] = state["run"]["seed"]
        columns = [list(self.history.step_names), list(self.history.epoch_names)]
        now = self._recipe | {"columns of the history": columns}
        then = state["run"] | {"columns of the history": state["columns"]}
        differ = recipe.differences(then, now)
        if not differ:
            self.history.set_arrays({n: arrays[f"history.{n}"] for n in ("steps", "epochs")})
            differ = self._other_rates()
        if differ:
            raise CheckpointError(
                f"resume: the run in {str(self.out)!r} was started in another way:\n"
                + "\n".join(differ)
                + "\nmake them equal again, or start a new run in another folder (md.load gives it "
                "these weights)"
            )
        self.take(arrays, state)
        self.kept = self.step
        save(self.out / "model.safetensors", job.model)

    def _other_rates(self) -> list[str]:
        """A line for the first step whose recorded learning rate differs from the schedule's.

        Only a plain function is checked like this. A schedule object was compared by its options
        already, in the recipe. It may span the run, and so give other rates when epochs are added.
        """
        schedule = self.job.schedule
        if schedule is None or not hasattr(schedule, "__code__"):
            return []
        for at, rate in enumerate(self.history.steps["learning_rate"].tolist()):
            if not math.isclose(schedule(at), rate, rel_tol=1e-9):
                return [f"  learning rate of step {at}: was {rate:g}, is {schedule(at):g}"]
        return []
