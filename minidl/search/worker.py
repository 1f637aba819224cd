"""A worker: takes one trial after the other, its own new ones and those that others left behind."""

import math
import platform
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.trial import FrozenTrial, TrialState

from ..errors import CheckpointError
from ..train.lock import locked
from .settings import Settings
from .storage import TURN, one_at_a_time
from .trial import FAILED, NOTE, Data, TrialRun, folder_of

PLACE, TRIES = "place", "tries"
IMAGES = "images"  # the attribute of a study with the hashes of its data
MOST_TRIES = 5  # a trial whose process was killed so often is given up: it may be what kills it


class Worker:
    """Works on the trials of a search in the folder `out` until all are done, or until `end`.

    end: a time of time.monotonic(), in seconds. show: called after each change.
    A trial belongs to the process that holds the lock of its run folder. The system takes the lock
    back from a process that is killed; then any worker on this machine may take up the trial.
    """

    def __init__(
        self,
        settings: Settings,
        study: optuna.Study,
        out: Path,
        show: Callable[[], None] = lambda: None,
        end: float = math.inf,
    ) -> None:
        self.settings, self.study, self.out = settings, study, out
        self._show, self._end = show, end
        self._place = f"{platform.node()}:{out.resolve()}"
        self._database = not isinstance(study._storage, JournalStorage)
        self._data = Data()

    def run(self) -> None:
        """Work until no trial is left or the time is over.

        Raises: KeyboardInterrupt where a signal stops it; CheckpointError where the images are not
        those that the trials before were measured on.
        """
        self._check_data()
        while time.monotonic() < self._end:
            with ExitStack() as held:
                trial = self._next(held)
                if trial is None:
                    return
                self._show()
                try:
                    TrialRun(
                        self.settings, trial, self.out, self._data, self._show, self._end
                    ).run()
                except KeyboardInterrupt:
                    trial.set_user_attr(TRIES, 0)  # it was not this trial that ended its process
                    if time.monotonic() < self._end:
                        raise
            self._show()

    def _check_data(self) -> None:
        """Accuracies on other images cannot be compared. The first worker keeps the hashes."""
        trials = self.study.get_trials(deepcopy=False)
        if len(trials) >= self.settings.trials and all(t.state.is_finished() for t in trials):
            return  # there is nothing left to measure
        now = self._data.of(self.settings.base).digests()
        then = self.study.user_attrs.get(IMAGES)
        if then is None:
            self.study.set_user_attr(IMAGES, now)
        elif then != now:
            parts = ", ".join(part for part in now if then.get(part) != now[part])
            raise CheckpointError(
                f"search: the search in {str(self.out)!r} was started with other images or labels "
                f"({parts}); bring the data back as it was, or start a new search in another folder"
            )

    def _next(self, held: ExitStack) -> optuna.Trial | None:
        """An abandoned trial, else a new one; None where none is left.

        held: gets the lock of the trial's folder. One worker of this folder looks at a time.
        """
        with one_at_a_time(self.out / TURN):
            trials = self.study.get_trials(deepcopy=False)
            for frozen in trials:
                if frozen.state == TrialState.RUNNING and self._is_ours(frozen):
                    if not self._claim(frozen.number, held):
                        continue
                    if not self._is_open(frozen):  # it has ended since
                        held.close()
                        continue
                    if (tries := frozen.user_attrs.get(TRIES, 0) + 1) > MOST_TRIES:
                        self._give_up(frozen)
                        held.close()
                        continue
                    trial = optuna.Trial(self.study, frozen._trial_id)
                    trial.set_user_attr(TRIES, tries)
                    return trial
            if len(trials) >= self.settings.trials:
                return None
            trial = self.study.ask()
            if self._database:
                trial.set_user_attr(PLACE, self._place)
            self._claim(trial.number, held)
            return trial

    def _is_ours(self, frozen: FrozenTrial) -> bool:
        """Whether the trial's run folder, and so its lock, is on this machine.

        The run folders of a journal are beside it. A database holds the place of each trial's
        folder. A trial without a place may be one that another machine has just begun.
        """
        return not self._database or frozen.user_attrs.get(PLACE) == self._place

    def _is_open(self, frozen: FrozenTrial) -> bool:
        now = self.study.get_trials(deepcopy=False)[frozen.number]
        return now.state == TrialState.RUNNING

    def _claim(self, number: int, held: ExitStack) -> bool:
        """Whether the lock of the trial's folder is now this process's."""
        try:
            held.enter_context(locked(folder_of(self.out, number)))
        except CheckpointError:  # another worker has it
            return False
        return True

    def _give_up(self, frozen: FrozenTrial) -> None:
        reason = f"the process that trained it was killed {MOST_TRIES} times"
        trial = optuna.Trial(self.study, frozen._trial_id)
        trial.set_user_attr(NOTE, {"outcome": FAILED, "reason": reason})
        self.study.tell(trial, state=TrialState.FAIL)
