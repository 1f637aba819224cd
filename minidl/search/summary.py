"""The results of a search: a row for each trial, counts, and how often the doctor was wrong."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from .trial import DIVERGED, FAILED, FINISHED, NOTE, PRUNED, REFUSED

RUNNING = "running"
OUTCOMES = (FINISHED, PRUNED, REFUSED, DIVERGED, FAILED, RUNNING)
LEARNED = 0.9  # times the best accuracy: a refused trial that comes so far was refused wrongly


@dataclass
class Row:
    """The result of a trial.

    accuracy: on the validation part, after the last epoch that was trained; None before the first.
    epochs: that were trained. options: drawn ones. reason, code, verdict: why it was refused or
    failed. audited: whether it was refused and trained all the same. audit: the accuracy of that
    training; None where it diverged. seconds: of processor time, by part.
    """

    number: int
    outcome: str
    accuracy: float | None
    epochs: float
    options: dict[str, Any]
    reason: str = ""
    code: str = ""
    verdict: str = ""
    audited: bool = False
    audit: float | None = None
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass
class Summary:
    """The rows of a search, and counts of them. trials: how many the search will have."""

    rows: list[Row]
    trials: int

    @property
    def counts(self) -> dict[str, int]:
        """How many trials had each outcome, those that occurred."""
        found = Counter(row.outcome for row in self.rows)
        return {name: found[name] for name in OUTCOMES if found[name]}

    @property
    def best(self) -> Row | None:
        """The trial with the best accuracy of those that were trained to the end."""
        ended = [row for row in self.rows if row.outcome == FINISHED]
        return max(ended, key=lambda row: (row.accuracy or 0.0, -row.number), default=None)

    @property
    def refused(self) -> list[Row]:
        """The trials that the doctor refused."""
        return [row for row in self.rows if row.outcome == REFUSED]

    @property
    def audited(self) -> list[Row]:
        """The refused trials that were trained all the same."""
        return [row for row in self.refused if row.audited]

    @property
    def wrong(self) -> list[Row]:
        """The audited trials that came to 0.9 of the best accuracy: refused wrongly."""
        least = LEARNED * ((self.best and self.best.accuracy) or 1.0)
        return [row for row in self.audited if row.audit is not None and row.audit >= least]

    def epochs(self, audits: bool = False) -> float:
        """The epochs that were trained in the search, or in its audits."""
        return sum(row.epochs for row in self.rows if row.audited == audits)

    def seconds(self, part: str = "seconds") -> float:
        """Processor time in all, or of a part: "doctor_seconds", "sampler_seconds"."""
        return sum(row.seconds.get(part, 0.0) for row in self.rows)


def summarize(trials: Iterable[FrozenTrial], wanted: int) -> Summary:
    """The summary of a study's trials."""
    return Summary([_row(trial) for trial in trials], wanted)


def _row(trial: FrozenTrial) -> Row:
    note: dict[str, Any] = trial.user_attrs.get(NOTE, {})
    reports = trial.intermediate_values
    accuracy = trial.value if trial.state == TrialState.COMPLETE else None
    if accuracy is None and reports:
        accuracy = reports[max(reports)]
    open_ = trial.state in (TrialState.RUNNING, TrialState.WAITING)
    audit = note.get("audit")
    return Row(
        trial.number,
        RUNNING if open_ else note.get("outcome", FAILED),
        accuracy,
        note.get("epochs", float(max(reports, default=0))),
        dict(trial.params),
        note.get("reason", ""),
        note.get("code", ""),
        note.get("verdict", ""),
        audit is not None,
        audit["accuracy"] if audit else None,
        {name: value for name, value in note.items() if name.endswith("seconds")},
    )


def summary_of(study: optuna.Study, wanted: int) -> Summary:
    """The summary of a study as it is now."""
    return summarize(study.get_trials(deepcopy=False), wanted)
