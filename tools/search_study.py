"""What the doctor at the door of a search saves, and how often he is wrong.

    python tools/search_study.py savings --out runs/search-study     # half an hour on one core
    python tools/search_study.py refusals --draws 600 --seed 100 --out runs/refusals.jsonl

savings: searches with five seeds, 40 trials of deep_plain_cnn on the digits, TPE and the median
pruner, each once without the doctor and once with him. Prints the epochs trained, the processor
time (time.process_time, which other programs do not lengthen) and the best accuracy. Searches that
`--out` holds already are not made again.

refusals: draws settings at random, asks the doctor, and trains those that he would refuse. Writes a
line of JSON for each, and prints how many came to 0.9 all the same, by what the doctor saw.
"""

import argparse
import dataclasses
import json
import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any

import optuna

from minidl.errors import GradientError, MinidlError
from minidl.runs import Config, train
from minidl.runs.data import load_data
from minidl.runs.examine import examine
from minidl.search import Search, go_on, open_search
from minidl.search.door import opinion
from minidl.search.settings import make_space
from minidl.train.interrupt import Stopped

GIVEN = {"data": "digits", "model": "deep_plain_cnn", "epochs": 10}
LEARNED = 0.9


def savings(out: Path, seeds: int, doors: list[str]) -> None:
    """Search with each seed and each door, and print what came of it."""
    for seed in range(seeds):
        for door in doors:
            place = out / f"{door}-{seed}"
            given = GIVEN | {"seed": seed, "doctor": door, "audit": 0.0, "best_seeds": 0}
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


class GiveUp:
    """Ends a training that after half of its epochs is no better than a guess, to save time."""

    def before_step(self, trainer: Any, step: int) -> None:
        """Raises: Stopped."""
        last = trainer.history.last
        if last.get("epoch") == GIVEN["epochs"] // 2 and last["validation_accuracy"] < 0.15:
            raise Stopped("stuck")


def refusals(draws: int, seed: int, out: Path) -> None:
    """Draw, ask, train what would be refused, and count."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    base = Config(**GIVEN, validation=0.2)
    space, splits = make_space(base, tuple(GIVEN)), load_data(base, None, False)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    out.parent.mkdir(parents=True, exist_ok=True)
    with open(out, "w", encoding="utf-8") as file:
        for number in range(draws):
            options = space.draw(study.ask(), base)
            config = dataclasses.replace(space.config(base, options), seed=number)
            report = examine(config, splits.train, largest_rate=True)
            if opinion("both", report, 0.0) is None:
                continue
            first = examine(config, splits.train)
            accuracy, end = None, "trained"
            try:
                outcome = train(
                    config, progress=False, splits=splits, doctor=False, monitors=[GiveUp()]
                )
                accuracy = float(outcome.history.last["validation_accuracy"])
            except GradientError:
                end = "diverged"
            except MinidlError as error:
                end = str(error)
            except Stopped:
                end = "stuck"
            row = {
                "number": number, "verdict": report.verdict, "first": first.verdict, "strain_first": first.numbers["strain"], "accuracy": accuracy, "end": end,
                "options": options, "numbers": report.numbers,
                "findings": [dataclasses.asdict(f) | {"evidence": ""} for f in report.findings],
            }  # fmt: skip
            file.write(json.dumps(row) + "\n")
            file.flush()
    count(out)


def count(path: Path) -> None:
    """How many of the refused learned, by verdict and by the first sign."""
    kinds: dict[tuple[str, str], list[Any]] = defaultdict(list)
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        kinds[row["verdict"], row["findings"][0]["code"]].append(row["accuracy"] or 0.0)
    for (verdict, code), accuracies in sorted(kinds.items()):
        wrong = sum(accuracy >= LEARNED for accuracy in accuracies)
        print(
            f"{verdict:<15} {code:<15} {wrong:>3} of {len(accuracies):>3} came to {LEARNED} "
            f"({wrong / len(accuracies):.1%}); the best to {max(accuracies):.4f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("savings", "refusals", "count"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--doors", default="off,diverge,both")
    parser.add_argument("--draws", type=int, default=600)
    parser.add_argument("--seed", type=int, default=100)
    given = parser.parse_args()
    if given.what == "savings":
        savings(given.out, given.seeds, given.doors.split(","))
    elif given.what == "refusals":
        refusals(given.draws, given.seed, given.out)
    else:
        count(given.out)


if __name__ == "__main__":
    main()
