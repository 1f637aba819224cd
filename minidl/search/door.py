"""The doctor at the door: which trials are refused before their first step, and why.

Two verdicts of the doctor are not believed here, because trainings have shown them wrong:

- "will not learn" where the signal vanishes, under Adam or RMSProp. They divide each gradient by
  its size, so weights that are too small grow at the learning rate's pace, whatever gradient
  reaches them. Under gradient descent a vanished gradient changes nothing.
- "will diverge" because of a rate that is only reached by a rise (a warm-up, a cycle). The doctor's
  bounds are those of fresh networks, and while the rate rises the network changes. If its weights
  are normalised, each step makes them longer, and so the next step smaller relative to their size
  (Arora, Li, Lyu 2019). Such a network takes almost any rate. Without normalisation it takes a
  higher rate than a fresh one, so it is refused only where the strain is far above the critical
  one.
"""

from dataclasses import dataclass

from ..errors import MinidlError
from ..health.report import Report
from ..runs import Config, Splits
from ..runs.advice import with_safe_rate
from ..runs.config import AUTO
from ..runs.examine import examine

REFUSED = {
    "off": (),
    "diverge": ("will diverge",),
    "both": ("will diverge", "will not learn"),
}
ADAPTIVE = ("rmsprop", "adam", "adamw")
RISEN = 4.0  # times the critical strain, for a rate that the schedule reaches by a rise


@dataclass(frozen=True)
class Opinion:
    """Why a trial is refused: the verdict, the code of the first finding, and its evidence."""

    verdict: str
    code: str
    reason: str


def ask(mode: str, config: Config, splits: Splits) -> Opinion | None:
    """The doctor's reason to refuse a trial; None for one that may be trained.

    mode: the verdicts that count, a name in REFUSED. The doctor is asked at the schedule's largest
    rate, because under a warm-up or a cycle the first one is small and says nothing. A trial that
    the doctor cannot judge is trained, so that the training's error says why. The rate "auto" is
    the one that the training will find.
    """
    if mode == "off":
        return None
    try:
        if config.lr == AUTO:
            config = with_safe_rate(config, splits.train)
        report = examine(config, splits.train, largest_rate=True)
    except MinidlError:
        return None
    if report.verdict not in REFUSED[mode] or not believed(report, config):
        return None
    first = report.findings[0]
    return Opinion(report.verdict, first.code, f"{first.code} ({first.layer}): {first.evidence}")


def believed(report: Report, config: Config) -> bool:
    """Whether a verdict of the doctor is reason enough to refuse a trial (see the module's top)."""
    if report.verdict == "will not learn":
        return report.regime == "dead" or config.method not in ADAPTIVE
    if report.regime == "rate too high" and rises(config):
        normalised = config.is_normalised or config.weight_norm is not None
        strain, critical = report.numbers["strain"], report.numbers["largest_strain"]
        return not normalised and strain > RISEN * critical
    return True


def rises(config: Config) -> bool:
    """Whether the learning rate begins below its largest value."""
    return config.warmup > 1 or config.schedule == "one-cycle"
