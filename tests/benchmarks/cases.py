"""What is measured: networks, batches and data, the same for every engine."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

BATCHES = 4  # different batches, taken in turn
RATE = 0.001  # of plain gradient descent

_OTHERS = ("torch", "torch channels_last", "jax")
FRAMEWORKS = ("keras fit", "keras train_on_batch", *_OTHERS)
ANSWERING = ("minidl", "keras predict_on_batch", *_OTHERS)
FROM_SCRATCH = ("tinygrad", "mygrad", "autograd", "dezero")
OURS = ("minidl", "minidl fit", "minidl unfused", "minidl monitor")


@dataclass(frozen=True)
class Case:
    """A network at one batch size; `train` or only its answers."""

    title: str
    network: str
    batch: int
    train: bool = True
    engines: tuple[str, ...] = ("minidl", *FRAMEWORKS)
    options: dict[str, Any] = field(default_factory=dict)


CASES = {
    "article-32": Case(
        "The article's CNN", "article_cnn", 32, engines=(*OURS, *FRAMEWORKS, *FROM_SCRATCH)
    ),
    "article-64": Case(
        "The article's CNN", "article_cnn", 64, engines=(*OURS, *FRAMEWORKS, *FROM_SCRATCH)
    ),
    "article-256": Case("The article's CNN", "article_cnn", 256, engines=(*OURS, *FRAMEWORKS)),
    "mlp-64": Case(
        "An MLP 784-512-512-10",
        "mlp",
        64,
        engines=("minidl", *FRAMEWORKS, *FROM_SCRATCH),
        options={"inputs": 784},
    ),
    "vgg-64": Case("vgg_small on 32×32×3", "vgg_small", 64),
    "resnet-64": Case("resnet_small on 32×32×3", "resnet_small", 64),
    "answer-1": Case("The article's CNN, answers alone", "article_cnn", 1, False, ANSWERING),
    "answer-256": Case("The article's CNN, answers alone", "article_cnn", 256, False, ANSWERING),
}


@dataclass
class Problem:
    """A case as an engine gets it: layers, weights by PyTorch's names, and data.

    Shapes: images (BATCHES, N, C, H, W), labels (BATCHES, N).
    """

    layers: list[dict[str, Any]]
    weights: dict[str, np.ndarray]
    images: np.ndarray
    labels: np.ndarray
    train: bool
    network: str
    options: dict[str, Any]

    def save(self, folder: Path) -> None:
        about = {n: getattr(self, n) for n in ("layers", "train", "network", "options")}
        (folder / "problem.json").write_text(json.dumps(about), encoding="utf-8")
        weights = {f"weight.{name}": array for name, array in self.weights.items()}
        np.savez(folder / "problem.npz", images=self.images, labels=self.labels, **weights)

    @classmethod
    def load(cls, folder: Path) -> "Problem":
        about = json.loads((folder / "problem.json").read_text(encoding="utf-8"))
        with np.load(folder / "problem.npz") as arrays:
            weights = {n[7:]: arrays[n] for n in arrays.files if n.startswith("weight.")}
            return cls(weights=weights, images=arrays["images"], labels=arrays["labels"], **about)


def walk(problem: Problem) -> Iterator[tuple[dict[str, Any], tuple[int, ...], tuple[int, ...]]]:
    """Each layer with the shapes of one example before and after it, branches in turn."""

    def through(layers: list[dict[str, Any]], shape: tuple[int, ...]) -> Any:
        for layer in layers:
            kind, before = layer["kind"], shape
            if kind == "residual":
                if layer["shortcut"] is not None:
                    yield from through(layer["shortcut"], shape)
                shape = yield from through(layer["branch"], shape)
            elif kind == "conv":
                out, _, kh, _ = problem.weights[f"{layer['name']}.weight"].shape
                step, pad = layer["stride"], layer["padding"]
                shape = (out, *((n + 2 * pad - kh) // step + 1 for n in shape[1:]))
            elif kind == "dense":
                shape = (len(problem.weights[f"{layer['name']}.weight"]),)
            elif kind == "pool":
                shape = (shape[0], *(n // layer["size"] for n in shape[1:]))
            elif kind == "mean":
                shape = shape[:1]
            elif kind == "flatten":
                shape = (int(np.prod(shape)),)
            yield layer, before, shape
        return shape

    yield from through(problem.layers, problem.images.shape[2:])


def cost(problem: Problem) -> tuple[float, float]:
    """What a step must do when it runs layer by layer: operations of products, bytes moved.

    Operations: 2·|output|·(products per output) forward, the same for each of the two gradients;
    the first layer's input needs none. Bytes: a layer reads its input and writes its output; in
    the backward pass it reads the output's gradient and writes the input's, and layers that
    multiply read their input again. A weight is read, its gradient is written and read, and the
    update reads and writes the weight.
    """
    batch, first = problem.images.shape[1], True
    operations = moved = 0.0
    for layer, before, after in walk(problem):
        size_in, size_out = batch * np.prod(before), batch * np.prod(after)
        weighted = layer["kind"] in ("conv", "dense")
        if layer["kind"] == "flatten":
            continue
        moved += size_in + size_out
        if weighted:
            weight = problem.weights[f"{layer['name']}.weight"]
            products = 2.0 * size_out * weight[0].size
            operations += products * ((2 if first else 3) if problem.train else 1)
            moved += weight.size * (5 if problem.train else 1)
        if problem.train:
            moved += size_out + (0 if first else size_in) + (size_in if weighted else 0)
        first = first and not weighted
    return operations, 4 * moved
