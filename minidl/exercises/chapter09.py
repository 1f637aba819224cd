"""Write one step of training, and a network that reads nine of ten unseen digits."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

import minidl as md

from .answers import Wrong, array, compare, function

RATE, ENOUGH, SEEDS = 0.5, 0.90, range(3)


def check(answer: ModuleType) -> str:
    """The step against θ - α·∂L/∂θ, then the accuracy of three networks."""
    step, learn = function(answer, "step"), function(answer, "learn")
    train, test = md.data.digits().split(0.2, seed=0)
    for seed in SEEDS:
        _steps(step, train, seed)
    shares = [_accuracy(learn, train, test, seed) for seed in SEEDS]
    found = ", ".join(f"{share:.1%}" for share in shares)
    return f"Your step is θ - α·∂L/∂θ, and your networks name {found} of the unseen digits rightly."


def _model(seed: int) -> md.nn.Module:
    md.manual_seed(seed)
    return md.models.mlp(784, [16])


def _steps(step: Callable[..., Any], train: md.data.Dataset, seed: int) -> None:
    """Two steps of the reader's function beside two steps of the formula."""
    batches = [(train.images[k : k + 32], train.labels[k : k + 32]) for k in (32 * seed, 640)]
    model = _model(seed)
    optimizer = md.optim.SGD(model.parameters(), lr=RATE)
    right, losses = _descent(seed, batches)
    twice, _ = _descent(seed, batches, criterion=_softmax_twice)
    squared, _ = _descent(seed, batches, criterion=_squared)
    kept, _ = _descent(seed, batches, keep=True)
    up, _ = _descent(seed, batches, rate=-RATE)
    summed, _ = _descent(seed, batches, rate=32 * RATE)
    start = _flat(_model(seed))
    for number, ((images, labels), loss) in enumerate(zip(batches, losses, strict=True)):
        before, found = _loss(model, images, labels), step(model, optimizer, images, labels)
        what = f"Step {number + 1} (seed {seed}): the vector of all parameters after it"
        after = _flat(model)
        mistakes = {
            "They did not move. The order is `optimizer.zero_grad()`, `loss.backward()`, "
            "`optimizer.step()`.": start,
            "Softmax twice: cross_entropy holds the softmax, so give it the logits.": twice[number],
            "The gradients of the step before are still there: call `optimizer.zero_grad()`.": (
                kept[number]
            ),
            "They went up the slope.": up[number],
            "The loss is summed over the images: take the mean.": summed[number],
            "That is a step on the squared error: the loss is `md.ops.cross_entropy`.": (
                squared[number]
            ),
        }
        if number == 0:
            mistakes["They moved twice as far: call `optimizer.step()` once."] = (
                2 * right[0] - start
            )
            way, moved = right[0] - start, after - start
            factor = float(way @ moved) / float(way @ way)
            mistakes[
                f"They went the right way, but {factor:.3g} times as far. Only `optimizer.step()` "
                "changes them, at its own rate, and nothing changes the gradient."
            ] = start + factor * way
        compare(what, after, right[number], mistakes, tolerance=1e-5)
        mistakes = {"That is the loss after the step.": np.asarray(_loss(model, images, labels))}
        assert abs(before - loss) < 1e-5, "the formula's loss is the model's"
        what = f"Step {number + 1}: the loss that it returns"
        if isinstance(found, md.Tensor):
            raise Wrong(f"{what} is a tensor, with its whole graph: return a number, loss.item().")
        compare(what, found, loss, mistakes, tolerance=1e-5)


def _softmax_twice(logits: md.Tensor, labels: np.ndarray) -> md.Tensor:
    return md.ops.cross_entropy(md.ops.softmax(logits), labels)


def _squared(logits: md.Tensor, labels: np.ndarray) -> md.Tensor:
    return md.ops.mse_loss(logits, np.eye(10, dtype="float32")[labels])


def _descent(
    seed: int,
    batches: Any,
    *,
    rate: float = RATE,
    criterion: Callable[..., md.Tensor] = md.ops.cross_entropy,
    keep: bool = False,
) -> tuple[list[np.ndarray], list[float]]:
    """The parameters after each step by the formula, or with a mistake; and the losses."""
    model, found, losses = _model(seed), [], []
    for images, labels in batches:
        if not keep:
            model.zero_grad()
        loss = criterion(model(images), labels)
        loss.backward()
        for p in model.parameters():
            assert p.grad is not None
            p.data = p.data - np.float32(rate) * p.grad.data
        found.append(_flat(model))
        losses.append(loss.item())
    return found, losses


def _flat(model: md.nn.Module) -> np.ndarray:
    return np.concatenate([p.numpy().ravel() for p in model.parameters()])


def _loss(model: md.nn.Module, images: np.ndarray, labels: np.ndarray) -> float:
    with md.no_grad():
        return md.ops.cross_entropy(model(images), labels).item()


def _accuracy(
    learn: Callable[..., Any], train: md.data.Dataset, test: md.data.Dataset, seed: int
) -> float:
    """The share of unseen digits that the reader's network names. Raises: Wrong below 0.90."""
    model = learn(train.images.copy(), train.labels.copy(), seed)
    if not isinstance(model, md.nn.Module):
        raise Wrong(f"`learn` returned {type(model).__name__}, but it must return the network.")
    unseen, seen = (_right(model, data) for data in (test, train))
    if unseen >= ENOUGH:
        return unseen
    said = (
        f"With seed {seed} your network names {unseen:.1%} of the unseen digits, not {ENOUGH:.0%}."
    )
    if seen < 0.2:
        raise Wrong(
            f"{said} That is a blind guess: it has learned nothing. Print the loss of each step. "
            "Where it jumps, or is nan, the rate is too high. Where it hardly falls, the rate is "
            "too low or the steps are too few."
        )
    if seen > unseen + 0.05:
        raise Wrong(f"{said} It names {seen:.1%} of those it was given: it learned them by heart.")
    if _ends_in_softmax(model, train):
        raise Wrong(
            f"{said} Its outputs are probabilities. The loss contains the softmax, so this is "
            "softmax twice: let the model end in logits."
        )
    raise Wrong(
        f"{said} It names {seen:.1%} of those it was given, so it has not learned those either: "
        "train on all of them, for longer, or at a higher rate."
    )


def _ends_in_softmax(model: md.nn.Module, data: md.data.Dataset) -> bool:
    with md.no_grad():
        outputs = model(data.images[:32]).numpy()
    return bool((outputs >= 0).all() and np.allclose(outputs.sum(1), 1, atol=1e-4))


def _right(model: md.nn.Module, data: md.data.Dataset) -> float:
    model.eval()
    with md.no_grad():
        logits = array("The output of your network", model(data.images))
    if logits.shape != (len(data), 10):
        raise Wrong(
            f"For {len(data)} images your network returns shape {logits.shape}, but it must be "
            f"({len(data)}, 10): a number for each image and digit."
        )
    return float((logits.argmax(1) == data.labels).mean())
