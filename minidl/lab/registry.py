"""The experiments by name, what each promises, and what it returns."""

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from ..errors import ConfigError


@dataclass(frozen=True)
class Check:
    """One measured number against its prediction: |measured − predicted| <= tolerance.

    low, high: an interval instead of the tolerance, for what theory only bounds; either may
    be left out.
    """

    what: str
    predicted: float
    measured: float
    tolerance: float = 0.0
    low: float | None = None
    high: float | None = None

    @property
    def ok(self) -> bool:
        """Whether the number is where it should be; NaN never is."""
        if self.low is not None or self.high is not None:
            low = float("-inf") if self.low is None else self.low
            high = float("inf") if self.high is None else self.high
            return low <= self.measured <= high
        return abs(self.measured - self.predicted) <= self.tolerance

    def allowed(self) -> str:
        """The allowed range as text: "± 0.01" or "[0.9, inf]"."""
        if self.low is None and self.high is None:
            return f"± {self.tolerance:.2g}"
        low = "-inf" if self.low is None else f"{self.low:.4g}"
        high = "inf" if self.high is None else f"{self.high:.4g}"
        return f"[{low}, {high}]"


@dataclass
class Result:
    """What an experiment found.

    verdict: "holds" or "fails" for a prediction; "true", "false", "conditional", "refuted", ...
    for a claim. conclusion: one or two sentences with the numbers in. rows: the table.
    series: plain numbers for the figure: "title", "x", "y" (the axes' names), "lines"
    ({name: (xs, ys)}), and where wanted "predicted" (lines drawn dashed), "bars"
    ({name: height}), "log_x", "log_y". counts: outcomes over seeds, with "of" their number.
    """

    checks: list[Check]
    verdict: str
    conclusion: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    series: dict[str, Any] = field(default_factory=dict)
    counts: dict[str, Any] | None = None


def holds(checks: Iterable[Check]) -> str:
    """ "holds" where every check is ok, else "fails"."""
    return "holds" if all(check.ok for check in checks) else "fails"


Function = Callable[[int, bool], Result]  # (seed, quick)


@dataclass(frozen=True)
class Experiment:
    """A registered experiment: call it with a seed."""

    name: str
    number: str
    title: str
    source: str
    setup: str
    prediction: str
    function: Function

    def __call__(self, seed: int = 0, quick: bool = False) -> Result:
        """Run it. quick: a reduced form in seconds."""
        return self.function(seed, quick)


REGISTRY: dict[str, Experiment] = {}


def experiment(
    *, name: str, number: str, title: str, source: str, setup: str, prediction: str
) -> Callable[[Function], Function]:
    """Register a function (seed, quick) -> Result under a name.

    number: "P1" to "P14" for predictions with exact theory, "C1" ... for the article's claims.
    Raises: ConfigError where the name or the number is taken.
    """

    def register(function: Function) -> Function:
        for known in REGISTRY.values():
            if known.name == name or known.number == number:
                raise ConfigError(
                    f"experiment: {name!r} ({number}) clashes with {known.name!r} "
                    f"({known.number}); names and numbers are given once"
                )
        REGISTRY[name] = Experiment(name, number, title, source, setup, prediction, function)
        return function

    return register


def find(names: Iterable[str] = ()) -> list[Experiment]:
    """The experiments of these names or numbers, in their order; all of them for no names.

    Raises: ConfigError for names that are not there, with those that look like them.
    """
    wanted = list(names)
    if not wanted:
        return sorted(REGISTRY.values(), key=_order)
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


def _order(e: Experiment) -> tuple[bool, int]:
    return (not e.number.startswith("P"), int(e.number[1:]))
