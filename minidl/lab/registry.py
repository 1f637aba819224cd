"""The experiments by name, and the evidence that an experiment returns."""

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from ..errors import ConfigError


@dataclass(frozen=True)
class Check:
    """One measured number, and where it should lie.

    what: the number's name. predicted: the number that theory gives. The check is ok where
    |measured - predicted| <= tolerance. None where there is only a bound: for a promise of the
    article, or where theory gives no more.
    low, high: the interval that counts as ok, in place of the tolerance; either may be left out.
    """

    what: str
    predicted: float | None
    measured: float
    tolerance: float = 0.0
    low: float | None = None
    high: float | None = None

    @property
    def ok(self) -> bool:
        """Whether the number is where it should be; NaN never is."""
        if self.low is None and self.high is None:
            return self.predicted is not None and (
                abs(self.measured - self.predicted) <= self.tolerance
            )
        return (self.low is None or self.low <= self.measured) and (
            self.high is None or self.measured <= self.high
        )

    def allowed(self) -> str:
        """The allowed range in words: "± 0.01", "at least 8", "0.9 to 1.1"."""
        if self.low is None and self.high is None:
            return f"± {self.tolerance:.2g}"
        if self.low is None:
            return f"at most {self.high:.4g}"
        if self.high is None:
            return f"at least {self.low:.4g}"
        return f"{self.low:.4g} to {self.high:.4g}"


@dataclass
class Evidence:
    """The result of an experiment.

    conclusion: one or two sentences with the numbers in them. rows: the table. series: the plain
    numbers of the figure, made by `drawing.curves` or `drawing.bars`. counts: how many trainings
    had each outcome, over the seeds; "of" is how many there were. opposite: whether the contrary
    of a claim was measured. verdict: follows from the checks; `Experiment` fills it in.
    """

    checks: list[Check]
    conclusion: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    series: dict[str, Any] = field(default_factory=dict)
    counts: dict[str, Any] | None = None
    opposite: bool = False
    verdict: str = ""


Function = Callable[[int, bool], Evidence]  # (seed, quick)


@dataclass(frozen=True)
class Experiment:
    """A registered experiment: call it with a seed.

    number: "P1", "P2" ... for predictions, "C1", "C2" ... for claims. source: the papers.
    setup: the networks and the settings. expected: the prediction of theory, or the promise of the
    claim. section and says: where the article makes the claim, and the claim in our words; empty
    where the article does not make it.
    """

    name: str
    number: str
    function: Function
    title: str
    source: str
    setup: str
    expected: str
    section: str = ""
    says: str = ""

    @property
    def is_claim(self) -> bool:
        """Whether it is a claim, which makes promises; a prediction has numbers from theory."""
        return self.number.startswith("C")

    def __call__(self, seed: int = 0, quick: bool = False) -> Evidence:
        """Run it. quick: a reduced form in seconds."""
        evidence = self.function(seed, quick)
        evidence.verdict = _judge(evidence) if self.is_claim else _holds(evidence)
        return evidence


def _holds(evidence: Evidence) -> str:
    return "holds" if all(check.ok for check in evidence.checks) else "fails"


def _judge(evidence: Evidence) -> str:
    """The verdict on a claim.

    "true" where all promises are kept, "conditional" where some are. Where none is, "refuted" if
    the opposite was measured, else "false".
    """
    kept = sum(check.ok for check in evidence.checks)
    if kept == len(evidence.checks):
        return "true"
    if kept:
        return "conditional"
    return "refuted" if evidence.opposite else "false"


REGISTRY: dict[str, Experiment] = {}


def prediction(
    number: int, *, title: str, source: str, setup: str, predicts: str
) -> Callable[[Function], Function]:
    """Register a function (seed, quick) -> Evidence as prediction P<number>, named by its file.

    predicts: the numbers that theory gives, in words; for the others see `Experiment`.
    Raises: ConfigError where the name or the number is taken.
    """
    return _register(
        "", number=f"P{number}", title=title, source=source, setup=setup, expected=predicts
    )


def claim(
    number: int,
    *,
    title: str,
    source: str,
    setup: str,
    promises: str,
    section: str = "",
    says: str = "",
) -> Callable[[Function], Function]:
    """Register a function as claim C<number>, named by its file with "claim-" before it.

    promises: what must be measured if the claim is true; for the others see `Experiment`.
    Raises: ConfigError where the name or the number is taken.
    """
    texts = {"setup": setup, "expected": promises, "section": section, "says": says}
    return _register("claim-", number=f"C{number}", title=title, source=source, **texts)


def _register(prefix: str, *, number: str, **texts: str) -> Callable[[Function], Function]:
    def register(function: Function) -> Function:
        name = prefix + function.__module__.rpartition(".")[2].replace("_", "-")
        for known in REGISTRY.values():
            if known.name == name or known.number == number:
                raise ConfigError(
                    f"experiment: {name!r} ({number}) clashes with {known.name!r} "
                    f"({known.number}); names and numbers are given once"
                )
        REGISTRY[name] = Experiment(name, number, function, **texts)
        return function

    return register


def find(names: Iterable[str] = ()) -> list[Experiment]:
    """The experiments of these names or numbers, in their order; all of them for no names.

    Raises: ConfigError for unknown names, with known ones that are spelled alike.
    """
    wanted = list(names)
    if not wanted:
        return sorted(REGISTRY.values(), key=lambda e: order(e.number))
    by_key = {e.name: e for e in REGISTRY.values()}
    by_key |= {e.number.lower(): e for e in REGISTRY.values()}
    unknown = [name for name in wanted if name.lower() not in by_key]
    if unknown:
        hints = []
        for name in unknown:
            close = difflib.get_close_matches(name.lower(), by_key, n=3, cutoff=0.4)
            hints.append(f"{name!r}" + (f" (did you mean {', '.join(close)}?)" if close else ""))
        raise ConfigError(
            f"lab: no experiment named {'; '.join(hints)}; `minidl lab` lists all {len(REGISTRY)}"
        )
    found = [by_key[name.lower()] for name in wanted]
    return list(dict.fromkeys(found))


def order(number: str) -> tuple[bool, int]:
    """The key by which numbers are sorted: P1, P2 ... before C1, C2 ..."""
    return (not number.startswith("P"), int(number[1:]))
