"""How a claim is judged: what it promises, counted over seeds, and the verdict that follows.

A claim is a list of promises, each a `Check` whose prediction is what the claim says and whose
measurement is what happened. All kept: "true". Some kept: "conditional". None kept: "false", and
"refuted" where the opposite of the claim was measured.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .cnn import Recipe, Run, counts, runs
from .registry import Check

CURED = 0.8  # a remedy that trains fewer than 8 of 10 networks is no cure


def seeds(seed: int, quick: bool) -> range:
    """10 seeds, 3 in the quick form; a different `seed` gives different ones."""
    return range(100 * seed, 100 * seed + (3 if quick else 10))


def tally(recipes: Mapping[str, Recipe], which: range) -> dict[str, list[Run]]:
    """The runs of each named recipe."""
    return dict(zip(recipes, runs(list(recipes.values()), which), strict=True))


def trained(found: Sequence[Run]) -> int:
    """How many of the runs trained."""
    return sum(run.outcome == "trained" for run in found)


def promise(what: str, found: Sequence[Run]) -> Check:
    """The claim says that all of these runs train; at least 8 in 10 keep its word."""
    return Check(
        f"{what}: runs trained of {len(found)}",
        predicted=len(found),
        measured=trained(found),
        low=CURED * len(found),
    )


def judge(promises: Sequence[Check], opposite: bool = False) -> str:
    """The verdict; opposite: whether the contrary of the claim was measured."""
    kept = sum(check.ok for check in promises)
    if kept == len(promises):
        return "true"
    if kept:
        return "conditional"
    return "refuted" if opposite else "false"


def row(name: str, found: Sequence[Run]) -> dict[str, Any]:
    """One line of the table: the outcomes, and medians of what the runs began and ended with."""
    scores = [run.accuracy for run in found if run.outcome != "diverged"]
    ends = [run.steps for run in found if run.outcome in ("diverged", "dead")]
    return {
        "setup": name,
        **counts(found),
        "loss at start": float(np.median([run.losses[0] for run in found])),
        "NaN or death at step": float(np.median(ends)) if ends else float("nan"),
        "test accuracy": float(np.median(scores)) if scores else float("nan"),
    }


def score(found: Sequence[Run]) -> str:
    """ "9/10 trained" """
    return f"{trained(found)}/{len(found)} trained"


def lost(found: Sequence[Run]) -> str:
    """ "8 NaN, 2 dead": what became of the runs that did not train."""
    number = counts(found)
    words = {"diverged": "NaN", "dead": "dead", "stuck": "stuck"}
    parts = [f"{number[outcome]} {word}" for outcome, word in words.items() if number[outcome]]
    return ", ".join(parts) or "none lost"


def tallied(title: str, results: Mapping[str, Sequence[Run]]) -> dict[str, Any]:
    """rows, series and counts of a Result: outcomes by recipe, as bars of the share trained."""
    number = len(next(iter(results.values())))
    return {
        "rows": [row(name, found) for name, found in results.items()],
        "series": {
            "title": title,
            "x": "",
            "y": f"share of {number} runs that trained",
            "bars": {name: trained(found) / number for name, found in results.items()},
        },
        "counts": {"of": number} | {name: counts(found) for name, found in results.items()},
    }
