"""How often is the gradient doctor right? Random networks, its verdict, and what then happens.

    python tools/doctor_study.py --runs 300 --seed 0

Draws networks, asks the doctor before the first step (also with three trial steps), trains each
for 60 steps and prints the confusion matrices. Beside them stands the best that any judge can do
who does not know the later batches: the same network, trained a second time from the same first
batch with the others in another order. A run *diverged* when a NaN or Inf appeared, or its
loss rose above 3 times the larger of its start and 2.3 while fewer than 0.2 of the test images
are right at the end; it *learned* when at least half are.
"""

import argparse
import copy
import os
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from multiprocessing import get_context
from typing import Any

import numpy as np

import minidl as md
from minidl.lab.cnn import batches
from minidl.scope.film import STEPS, outcome

OUTCOMES = ("diverged", "learned", "neither")
TRIALS = (0, 3)
AGAIN = "a second training of the same networks"


@lru_cache
def _digits() -> tuple[md.data.Dataset, md.data.Dataset]:
    train, test = md.data.digits().split(0.2, seed=0)
    return train, test


def inputs(kind: str, images: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Images standardised by the training part ("std"), in [0, 1] ("unit") or 0..255 ("raw")."""
    if kind == "std":
        return (images - train.mean()) / train.std()
    return images * np.float32(255) if kind == "raw" else images


def scaled_he(factor: float) -> Any:
    """He-normal weights, times a factor."""
    return md.nn.init.he_normal(gain=factor * 2**0.5)


def plain(rng: np.random.Generator, layers: int, width: int, init: Any) -> md.nn.Module:
    """The lab's CNN: 3×3 convolutions with ReLU, and a dense layer."""
    return md.models.deep_plain_cnn(layers, width, init)


def convolutions(layers: int, width: int, init: Any, activation: Any, norm: bool) -> list[Any]:
    """3×3 convolutions, the first two of stride 2, each followed by norm and activation."""
    found: list[Any] = []
    for i in range(layers):
        stride, n_in = (2 if i < 2 else 1), (width if i else 1)
        found.append(md.nn.Conv2d(n_in, width, 3, stride=stride, padding=1, init=init))
        found += [md.nn.BatchNorm2d(width)] * norm + [activation()]
    return found


def various(rng: np.random.Generator, layers: int, width: int, init: Any) -> md.nn.Module:
    """A residual net, a BatchNorm net, a tanh net, or an MLP with ReLU or tanh."""
    kind = rng.choice(["residual", "batchnorm", "tanh", "mlp", "tanh mlp"])
    relu, tanh = md.nn.ReLU, md.nn.Tanh
    if "mlp" in kind:
        hidden = [int(rng.choice([64, 128, 256]))] * layers
        return md.models.mlp(784, hidden, 10, init, activation=tanh if "tanh" in kind else relu)
    if kind == "residual":
        parts = convolutions(2, width, init, relu, False)
        for _ in range(max(1, (layers - 2) // 2)):
            branch = md.nn.Conv2d(width, width, 3, padding=1, init=init)
            parts.append(md.nn.Residual(md.nn.Sequential(relu(), branch)))
    else:
        activation = tanh if kind == "tanh" else relu
        parts = convolutions(layers, width, init, activation, kind == "batchnorm")
    return md.nn.Sequential(*parts, md.nn.Flatten(), md.nn.Dense(width * 49, 10, init=init))


def shallow(rng: np.random.Generator, layers: int, width: int, init: Any) -> md.nn.Module:
    """Softmax regression, the article's CNN, two convolutions with pooling, or an MLP."""
    kind, units = rng.choice(["softmax", "article", "two", "mlp"]), int(rng.choice([64, 256]))
    if kind == "softmax":
        return md.models.mlp(784, [], 10, init)
    if kind == "article":
        return md.models.article_cnn(init)
    if kind == "mlp":
        return md.models.mlp(784, [units] * int(rng.choice([1, 2])), 10, init)
    parts: list[Any] = []
    for n_in, n_out in ((1, width), (width, 2 * width)):
        parts += [md.nn.Conv2d(n_in, n_out, 3, padding=1, init=init), md.nn.ReLU()]
        parts.append(md.nn.MaxPool2d(2))
    return md.nn.Sequential(*parts, md.nn.Flatten(), md.nn.Dense(2 * width * 49, 10, init=init))


DISTRIBUTIONS = {"plain": plain, "various": various, "shallow": shallow}


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """A number whose logarithm is uniform."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def study(distribution: str, seed: int, number: int) -> dict[str, Any]:
    """One random network: what each judge said, by its name, and the outcome."""
    rng = np.random.default_rng([seed, number, list(DISTRIBUTIONS).index(distribution)])
    md.manual_seed(int(rng.integers(2**31)))
    layers, width = int(rng.choice([3, 5, 8, 12])), int(rng.choice([8, 16]))
    init = scaled_he(log_uniform(rng, 0.4, 4))
    rate = log_uniform(rng, 0.001, 2)
    kind = str(rng.choice(["std", "unit", "raw"], p=[0.6, 0.2, 0.2]))
    model = DISTRIBUTIONS[distribution](rng, layers, width, init)
    method = "sgd" if distribution == "plain" else str(rng.choice(["sgd", "momentum", "adam"]))
    optimizer: Any = {
        "sgd": lambda: md.optim.SGD(model.parameters(), rate),
        "momentum": lambda: md.optim.SGD(model.parameters(), rate, momentum=0.9),
        "adam": lambda: md.optim.Adam(model.parameters(), rate),
    }[method]()
    train, test = _digits()
    images = inputs(kind, train.images, train.images)
    data = md.data.Dataset(images, train.labels)
    ordered, others = batches(data, number), batches(data, number + 10**6)
    first = next(ordered)
    said = {
        f"{n} trial steps": md.health.doctor(model, first, optimizer, trial_steps=n).verdict
        for n in TRIALS
    }
    seen, again = inputs(kind, test.images, train.images), copy.deepcopy((model, optimizer))
    outcome = _train(model, optimizer, first, ordered, seen)
    second = _train(*again, first, others, seen)
    said[AGAIN] = "will diverge" if second == "diverged" else "another verdict"
    return {"said": said, "outcome": outcome}


def _train(
    model: md.nn.Module, optimizer: Any, batch: Any, later: Iterator[Any], images: np.ndarray
) -> str:
    losses: list[float] = []
    with np.errstate(all="ignore"):
        for _ in range(STEPS):
            x, labels = batch
            optimizer.zero_grad()
            loss = md.ops.cross_entropy(model(x), labels)
            losses.append(loss.item())
            loss.backward()
            norms = [p.grad.norm().item() for p in model.parameters() if p.grad is not None]
            if not np.isfinite([losses[-1], *norms]).all():
                return "diverged"
            optimizer.step()
            batch = next(later)
        model.eval()
        with md.no_grad():
            logits = model(images).numpy()
    if not np.isfinite(logits).all():
        return "diverged"
    accuracy = float((logits.argmax(1) == _digits()[1].labels).mean())
    return outcome(losses, accuracy)


def matrix(rows: list[dict[str, Any]], judge: str) -> str:
    """The confusion matrix of "will diverge" as text, with recall and precision."""
    count = Counter((r["outcome"], r["said"][judge] == "will diverge") for r in rows)
    lines = [f"{'':10}  will diverge  another verdict"]
    lines += [f"{o:10}  {count[o, True]:12}  {count[o, False]:15}" for o in OUTCOMES]
    warned = sum(count[o, True] for o in OUTCOMES)
    diverged = count["diverged", True] + count["diverged", False]
    learned = count["learned", True] + count["learned", False]
    recall, precision = (
        count["diverged", True] / max(diverged, 1),
        count["diverged", True] / max(warned, 1),
    )
    lines.append(
        f"recall {recall:.3f}, precision {precision:.3f}, "
        f"warned falsely in {count['learned', True] / max(learned, 1):.1%} of those that learned"
    )
    return "\n".join(lines)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="How often is the gradient doctor right?")
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--distribution", choices=list(DISTRIBUTIONS), action="append")
    options = parser.parse_args()
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before the workers load NumPy
    print(f"seed {options.seed}")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        for name in options.distribution or DISTRIBUTIONS:
            args = [name] * options.runs, [options.seed] * options.runs, range(options.runs)
            rows = []
            for row in pool.map(study, *args):
                rows.append(row)
                sys.stderr.write(f"\r{name}: {len(rows)} of {options.runs} ")
            sys.stderr.write("\n")
            for judge in rows[0]["said"] if rows else ():
                print(f"\n{name}, {options.runs} networks, {judge}")
                print(matrix(rows, judge), flush=True)


if __name__ == "__main__":
    main()
