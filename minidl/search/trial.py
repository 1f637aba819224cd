"""One trial: its options are drawn, the doctor is asked, a run is trained, and its outcome kept."""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

from ..errors import GradientError, MinidlError
from ..runs import Config, Splits, train
from ..runs.data import load_data
from ..train.interrupt import Stopped
from .door import ask
from .sampling import number_from
from .settings import Settings

# What came of a trial: it was trained to the end, the pruner or the doctor ended it, its loss was
# not finite, or it could not be trained (too large for the memory, for example).
FINISHED, PRUNED, REFUSED = "finished", "pruned", "refused"
DIVERGED, FAILED = "diverged", "failed"
SPENT = "spent"  # the attribute with the processor time of a trial that was stopped
NOTE = "minidl"  # the attribute of a trial under which its outcome is kept


class Data:
    """The data of all trials, read once in each process."""

    def __init__(self) -> None:
        self._read: dict[bool, Splits] = {}

    def of(self, config: Config) -> Splits:
        """The parts for a trial; the only option of the data that trials may differ in is
        standardize.
        """
        if config.standardizes not in self._read:
            self._read[config.standardizes] = load_data(config, None, False, lambda line: None)
        return self._read[config.standardizes]


class Reports:
    """A monitor that tells the pruner of each epoch, and stops the run if the pruner says so or the
    time is over.
    """

    def __init__(self, trial: optuna.Trial | None, show: Callable[[], None], end: float) -> None:
        self._trial, self._show, self._end = trial, show, end
        self._judged = 0
        self.steps = 0  # that the run has made, before it was resumed too

    def finish(self, trainer: Any) -> None:
        """Count the steps."""
        self.steps = len(trainer.history)

    def before_step(self, trainer: Any, step: int) -> None:
        """Raises: TrialPruned after an epoch that is too bad; Stopped when the time is over."""
        if time.monotonic() > self._end:
            raise Stopped("the time is over")
        last = trainer.history.last
        epoch = int(last.get("epoch", 0))
        if epoch == self._judged:
            return
        self._judged = epoch
        self._show()
        if self._trial is None:
            return
        report(self._trial, epoch, last["validation_accuracy"])
        if self._trial.should_prune():
            raise optuna.TrialPruned


def report(trial: optuna.Trial, epoch: int, accuracy: float) -> None:
    """Tell the pruner of an epoch, once: a run that goes on tells of its last epoch again."""
    if epoch not in trial.study._storage.get_trial(trial._trial_id).intermediate_values:
        trial.report(accuracy, epoch)


def folder_of(out: Path, number: int) -> Path:
    """The run folder of a trial."""
    return out / "trials" / f"{number:04d}"


class TrialRun:
    """A trial of a search, from its draw to its outcome, in its own run folder."""

    def __init__(
        self,
        settings: Settings,
        trial: optuna.Trial,
        out: Path,
        data: Data,
        show: Callable[[], None] = lambda: None,
        end: float = math.inf,
    ) -> None:
        self.settings, self.trial, self.data = settings, trial, data
        self.folder = folder_of(out, trial.number)
        self.show, self.end = show, end
        self.note: dict[str, Any] = {}

    def run(self) -> None:
        """Draw the options, ask the doctor, train, and tell the study the outcome.

        A run that the folder holds already goes on.
        Raises: KeyboardInterrupt where a signal or the time stops it. The trial then stays open.
        """
        started, spent = time.process_time(), self.trial.user_attrs.get(SPENT, 0.0)
        options = self.settings.space.draw(self.trial, self.settings.base)
        config = self.settings.space.config(self.settings.base, options)
        self.note["sampler_seconds"] = time.process_time() - started
        try:
            config.check()
            state, value = self._outcome(config, self.data.of(config))
        except (MinidlError, MemoryError) as error:
            state, value = TrialState.FAIL, None
            self.note |= {"outcome": FAILED, "reason": first_line(error)}
        except KeyboardInterrupt:
            self.trial.set_user_attr(SPENT, spent + time.process_time() - started)
            raise
        self.note["seconds"] = spent + time.process_time() - started
        self.trial.set_user_attr(NOTE, self.note)
        self.trial.study.tell(self.trial, value, state=state)

    def _outcome(self, config: Config, splits: Splits) -> tuple[TrialState, float | None]:
        """(Optuna's state of the trial, its accuracy if it was trained to the end), for the study.

        A refused or diverged trial counts as pruned. So the sampler takes it for worse than any
        that was trained for longer, and learns to avoid such settings.
        """
        started = time.process_time()
        opinion = ask(self.settings.doctor, config, splits)
        self.note["doctor_seconds"] = time.process_time() - started
        if opinion is not None:
            self.note |= {"outcome": REFUSED, "reason": opinion.reason, "code": opinion.code}
            self.note["verdict"] = opinion.verdict
            place = self.settings.base.seed, "audit", self.trial.number
            if number_from(*place) < self.settings.audit * 2**32:
                self.note["audit"] = self._audit(config, splits)
            return TrialState.PRUNED, None
        try:
            epoch, accuracy = self._train(config, splits, self.trial)
        except optuna.TrialPruned:
            self.note["outcome"] = PRUNED
            return TrialState.PRUNED, None
        except GradientError as error:
            self.note |= {"outcome": DIVERGED, "reason": first_line(error)}
            return TrialState.PRUNED, None
        report(self.trial, epoch, accuracy)
        self.note["outcome"] = FINISHED
        return TrialState.COMPLETE, accuracy

    def _audit(self, config: Config, splits: Splits) -> dict[str, Any]:
        """Train a refused trial to its end, to see whether the refusal was right.

        The sampler is not told of it, so that a search draws the same with an audit and without.
        """
        try:
            return {"accuracy": self._train(config, splits, None)[1]}
        except GradientError as error:
            return {"accuracy": None, "reason": first_line(error)}

    def _train(
        self, config: Config, splits: Splits, judged: optuna.Trial | None
    ) -> tuple[int, float]:
        """The last epoch, and the accuracy on the validation part after it."""
        reports = Reports(judged, self.show, self.end)
        try:
            outcome = train(
                config, self.folder, resume=True, progress=False,
                monitors=[reports], splits=splits, doctor=False, figures=False,
            )  # fmt: skip
        finally:
            self.note["epochs"] = reports.steps / -(-len(splits.train) // config.batch_size)
        last = outcome.history.last
        return int(last["epoch"]), float(last["validation_accuracy"])


def first_line(error: BaseException) -> str:
    """The first line of an error's message; the name of its class where it has none."""
    return (str(error) or type(error).__name__).splitlines()[0]
