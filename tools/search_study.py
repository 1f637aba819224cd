"""What the doctor at the door of a search saves, and how often he is wrong.

    python tools/search_study.py savings --out runs/search-study
    python tools/search_study.py refusals --out runs/search-study
    python tools/search_study.py vanished

savings: searches with several seeds, 40 trials of deep_plain_cnn on the digits, TPE and the median
pruner, each once without the doctor and once with him. Prints the epochs trained, the processor
time (time.process_time, which other programs lengthen least) and the best accuracy. A search that
`--out` holds already is not made again.

refusals: asks the doctor about every trial that was trained without him, and prints how many of
those that he would refuse came to 0.9 all the same, before the pruner ended them or at their end.

vanished: draws 300 settings from the default space, trains those of which the doctor says that they
will not learn, and prints what came of them by optimizer. A training that after half of its epochs
is no better than a guess is ended.
"""

import argparse
import contextlib
import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any

import optuna

from minidl.errors import GradientError
from minidl.runs import Config, train
from minidl.runs.data import load_data
from minidl.runs.examine import examine
from minidl.search import Search, go_on, open_search
from minidl.search.best import config_of
from minidl.search.door import ADAPTIVE, believed
from minidl.search.settings import make_space
from minidl.train.interrupt import Stopped

# The plain network, as narrow as the article's: what explodes and vanishes is the subject here.
SPACE = {"width": [8, 16], "body": "plain"}
GIVEN = {
    "data": "digits", "model": "deep_plain_cnn", "epochs": 10, "space": SPACE,
}  # fmt: skip
LEARNED = 0.9


def savings(out: Path, seeds: int, doors: list[str]) -> None:
    """Search with each seed and each door, and print what came of it."""
    for seed in range(seeds):
        for door in doors:
            place = out / f"{door}-{seed}"
            given: dict[str, Any] = GIVEN | {
                "seed": seed,
                "doctor": door,
                "audit": 0.0,
                "best_seeds": 0,
            }
            print_row(seed, door, go_on(open_search(place, given), progress=False))
    print()
    for door in doors:
        found = [open_search(out / f"{door}-{seed}", {}) for seed in range(seeds)]
        compare(door, [open_search(out / f"off-{seed}", {}) for seed in range(seeds)], found)


def print_row(seed: int, door: str, search: Search) -> None:
    """One search in one line."""
    summary = search.summary
    best = summary.best
    print(
        f"seed {seed}  doctor {door:<8} epochs {summary.epochs():6.1f}  "
        f"processor {summary.seconds():7.1f} s  doctor {summary.seconds('doctor_seconds'):5.2f} s  "
        f"best {best.accuracy if best else float('nan'):.4f}  {summary.counts}",
        flush=True,
    )


def compare(door: str, before: list[Search], after: list[Search]) -> None:
    """What a door saved, in the middle and at the ends, and what it cost."""
    pairs = [(b.summary, a.summary) for b, a in zip(before, after, strict=True)]
    time = [1 - a.seconds() / b.seconds() for b, a in pairs]
    epochs = [1 - a.epochs() / b.epochs() for b, a in pairs]
    lost = [b.best.accuracy - a.best.accuracy for b, a in pairs if a.best and b.best]  # type: ignore
    cost = [a.seconds("doctor_seconds") / a.seconds() for _, a in pairs]
    print(
        f"doctor {door:<8} saved: processor time {spread(time)}, epochs {spread(epochs)}; best "
        f"accuracy lower by {statistics.fmean(lost):+.4f} on average, {max(lost):+.4f} at most; "
        f"own cost {statistics.median(cost):.1%}"
    )


def spread(values: list[float]) -> str:
    """The median, and the ends."""
    return f"{statistics.median(values):.1%} ({min(values):.1%} to {max(values):.1%})"


def refusals(out: Path, seeds: int) -> None:
    """Ask the doctor about the trials that searches without him have trained, and count."""
    kinds: dict[tuple[str, str], list[float]] = defaultdict(list)
    for seed in range(seeds):
        search = open_search(out / f"off-{seed}", {})
        settings = search.settings
        splits = load_data(settings.base, None, False)
        for row in search.summary.rows:
            config = config_of(settings, row)
            report = examine(config, splits.train, largest_rate=True)
            if not report.verdict.startswith("will"):
                continue
            kind = report.verdict, "" if believed(report, config) else ", not believed at the door"
            kinds[kind].append(row.accuracy or 0.0)
    for (verdict, door), accuracies in sorted(kinds.items()):
        wrong = sum(accuracy >= LEARNED for accuracy in accuracies)
        print(
            f"{verdict + door:<42} {wrong:>3} of {len(accuracies):>3} came to {LEARNED} "
            f"({wrong / len(accuracies):.1%}); the best to {max(accuracies):.4f}"
        )


class GiveUp:
    """Ends a training that after half of its epochs is no better than a guess."""

    def before_step(self, trainer: Any, step: int) -> None:
        """Raises: Stopped."""
        last = trainer.history.last
        if last.get("epoch", 0) > GIVEN["epochs"] // 2 and last["validation_accuracy"] < 0.15:
            raise Stopped("no better than a guess")


def vanished(draws: int, seed: int) -> None:
    """Train what the doctor says will not learn, and print what came of it."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    base = Config(data="digits", model="deep_plain_cnn", epochs=GIVEN["epochs"], validation=0.2)
    space, splits = make_space(base, ("data", "model", "epochs")), load_data(base, None, False)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    found: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(draws):
        config = space.config(base, space.draw(study.ask(), base))
        if examine(config, splits.train, largest_rate=True).verdict != "will not learn":
            continue
        accuracy = 0.0
        with contextlib.suppress(GradientError, Stopped):
            outcome = train(
                config, progress=False, splits=splits, doctor=False, monitors=[GiveUp()]
            )
            accuracy = float(outcome.history.last["validation_accuracy"])
        found[config.method in ADAPTIVE].append(accuracy)
    for adaptive, name in ((False, "gradient descent"), (True, "Adam and RMSProp")):
        learned = sorted((a for a in found[adaptive] if a > 0.5), reverse=True)
        print(f"{name}: {len(learned)} of {len(found[adaptive])} learned {learned}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("savings", "refusals", "vanished"))
    parser.add_argument("--out", type=Path, default=Path("runs/search-study"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--doors", default="off,both", help="off, diverge, both")
    given = parser.parse_args()
    if given.what == "savings":
        savings(given.out, given.seeds, given.doors.split(","))
    elif given.what == "refusals":
        refusals(given.out, given.seeds)
    else:
        vanished(draws=300, seed=1)


if __name__ == "__main__":
    main()
