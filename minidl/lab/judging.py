"""How a claim is judged: by the promises that it keeps, counted over seeds.

Every remedy is judged on the same two regimes, A (weights too large) and B (rate too high). It
promises that networks train with it: at least 8 of 10 must. The verdict is "true" where all
promises are kept, "conditional" where some are, and "false" where none is; "refuted" where then
even the opposite of the claim was measured.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .cnn import A, B, Recipe
from .drawing import bars
from .registry import Check, Evidence
from .training import OUTCOMES, Training, trainings

CURED = 0.8  # a remedy that trains fewer than 8 of 10 networks is no cure
SETUP = (
    "LAB-CNN, 8 convolutions of 16 channels, SGD, batch 64, 200 steps. A: weights N(0, 0.3²), "
    "rate 0.1. B: He weights, rate 1."
)
UNTREATED = {"A": A, "B": B}


def treated(remedy: str, **changes: Any) -> dict[str, Recipe]:
    """Both regimes with a remedy: {"A, <remedy>": ..., "B, <remedy>": ...}."""
    return {f"{name}, {remedy}": recipe.but(**changes) for name, recipe in UNTREATED.items()}


def seeds(seed: int, quick: bool) -> range:
    """The seeds of an experiment: 10, or 3 in the quick form; none in common for two `seed`s."""
    return range(100 * seed, 100 * seed + (3 if quick else 10))


def promise(
    what: str, measured: float, *, low: float | None = None, high: float | None = None
) -> Check:
    """A promise as a check: it is kept where the measured number lies from `low` to `high`."""
    return Check(what, None, measured, low=low, high=high)


class Tally:
    """How the trainings of some named recipes ended, over the same seeds."""

    def __init__(self, recipes: Mapping[str, Recipe], seed: int, quick: bool) -> None:
        chosen = seeds(seed, quick)
        self.of = len(chosen)
        found = trainings(list(recipes.values()), chosen)
        self.by_name: dict[str, Sequence[Training]] = dict(zip(recipes, found, strict=True))

    def __getitem__(self, name: str) -> Sequence[Training]:
        return self.by_name[name]

    def trained(self, name: str) -> int:
        """How many trained."""
        return self.counts(name)["trained"]

    def counts(self, name: str) -> dict[str, int]:
        """How many had each outcome."""
        number = Counter(training.outcome for training in self[name])
        return {outcome: number[outcome] for outcome in OUTCOMES}

    def score(self, name: str) -> str:
        """ "9/10 trained" """
        return f"{self.trained(name)}/{self.of} trained"

    def lost(self, name: str) -> str:
        """ "8 NaN, 2 dead": how those ended that did not train."""
        words = {"diverged": "NaN", "dead": "dead", "stuck": "stuck"}
        number = self.counts(name)
        parts = [f"{number[outcome]} {word}" for outcome, word in words.items() if number[outcome]]
        return ", ".join(parts) or "none lost"

    def loss_at_start(self, name: str) -> float:
        """The median loss of the first batch."""
        return float(np.median([training.losses[0] for training in self[name]]))

    def trains(self, *names: str) -> list[Check]:
        """For each name the promise that these networks train: at least 8 of 10 must."""
        return [
            promise(f"{name}: trained of {self.of}", self.trained(name), low=CURED * self.of)
            for name in names
        ]

    def evidence(self, checks: list[Check], conclusion: str, **more: Any) -> Evidence:
        """The evidence of a claim that is judged by counting: table, bars and counts.

        more: fields of Evidence in place of these; "rows" are added to the table.
        """
        counts = {name: self.counts(name) for name in self.by_name}
        rows = [self._row(name) for name in self.by_name] + more.pop("rows", [])
        shares = {name: self.trained(name) / self.of for name in self.by_name}
        series = bars(f"share of {self.of} networks that trained", shares)
        more = {"series": series, "counts": {"of": self.of} | counts} | more
        return Evidence(checks, conclusion, rows, **more)

    def _row(self, name: str) -> dict[str, Any]:
        """One line of the table: the outcomes, and medians of losses, steps and accuracies."""
        found = self[name]
        scores = [t.accuracy for t in found if t.outcome != "diverged"]
        ends = [t.steps for t in found if t.outcome in ("diverged", "dead")]
        return {
            "setup": name,
            **self.counts(name),
            "loss at start": self.loss_at_start(name),
            "NaN or death at step": float(np.median(ends)) if ends else float("nan"),
            "test accuracy": float(np.median(scores)) if scores else float("nan"),
        }
