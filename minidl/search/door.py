"""The doctor at the door: which trials are refused before their first step, and why."""

import time
from dataclasses import dataclass

from ..errors import MinidlError
from ..health.report import Report
from ..runs import Config, Splits
from ..runs.examine import examine

REFUSED = {
    "off": (),
    "diverge": ("will diverge",),
    "both": ("will diverge", "will not learn"),
}


@dataclass(frozen=True)
class Opinion:
    """What the doctor says of a trial. reason: its first finding; seconds: of processor time."""

    verdict: str
    code: str
    reason: str
    seconds: float

    @property
    def refused(self) -> str:
        """The verdict and its reason in one line."""
        return f"{self.verdict}: {self.reason}"


def ask(mode: str, config: Config, splits: Splits) -> Opinion | None:
    """The doctor's reason to refuse a trial; None for one that may be trained.

    He is asked at the schedule's largest rate: under a warm-up or a cycle the first one is small.
    What he cannot judge is trained, so that its error is that of the training.
    """
    if mode == "off":
        return None
    started = time.process_time()
    try:
        report = examine(config, splits.train, largest_rate=True)
    except MinidlError:
        return None
    seconds = time.process_time() - started
    return opinion(mode, report, seconds)


def opinion(mode: str, report: Report, seconds: float) -> Opinion | None:
    """The reason to refuse, in a doctor's report."""
    if report.verdict not in REFUSED[mode]:
        return None
    first = report.findings[0]
    reason = f"{first.code} ({first.layer}): {first.evidence}"
    return Opinion(report.verdict, first.code, reason, seconds)
