"""The main job: the article's CNN learns real handwritten digits.

Run it with `python demos/train_digits.py`.

Trains it by plain gradient descent, θ ← θ - α∇L, from five seeds, then with Adam, and shows the
accuracy on the fifth of the images that was held out. The first run's folder stays for a look.
"""

import shutil
from pathlib import Path

from rich.console import Console
from rich.table import Table

from minidl.health import doctor
from minidl.runs import Config, train_seeds

SEEDS = range(5)
OUT = Path("runs/demo")


def main() -> None:
    console = Console()
    shutil.rmtree(OUT, ignore_errors=True)
    table = Table("optimizer", "rate", "accuracy of each seed", "mean", "training")
    for name, rate, epochs, least in (("sgd", 0.2, 15, 0.96), ("adam", 0.002, 10, 0.97)):
        console.rule(f"the article's CNN, {name}, five seeds")
        config = Config(data="digits", model="article", optimizer=name, lr=rate, epochs=epochs)
        results = train_seeds(config, SEEDS, OUT / name)
        accuracies = [result.test["accuracy"] for result in results]
        mean = sum(accuracies) / len(accuracies)
        seconds = sum(result.seconds for result in results)
        each = "  ".join(f"{a:.1%}" for a in accuracies)
        table.add_row(name, f"{rate:g}", each, f"{mean:.2%}", f"{seconds:.1f} s")
        assert mean >= least, f"{name}: a mean accuracy of {mean:.2%} is below {least:.0%}"
    console.print(table)

    first = results[0]
    batch = first.trainer.batch
    assert batch is not None
    health = doctor(first.trainer.model, batch, first.trainer.optimizer)
    console.print(f"gradient health of the trained network: [bold]{health.verdict}[/bold]")
    console.print(f"weights, history and figures: {OUT}/sgd/seed-0")
    for file in sorted((OUT / "sgd" / "seed-0").iterdir()):
        console.print(f"  {file.name}")


if __name__ == "__main__":
    main()
