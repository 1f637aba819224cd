"""Write `cross_entropy`, which no scores can break."""

from types import ModuleType

import numpy as np

import minidl as md

from .answers import Wrong, compare, function, gradient

SUM = "You add up the losses of the batch; the loss is their mean."

HIDDEN = (
    "Something keeps the probability away from 0, such as a small number that is added to it. That "
    "hides how wrong the scores are: use ln p = s - m - ln Σ e^(s - m)."
)


def check(answer: ModuleType) -> str:
    """The value, the gradient, then scores at which the formula as written breaks."""
    cross_entropy = function(answer, "cross_entropy")
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(6, 4)) * 2, rng.integers(0, 4, 6)
    x = md.tensor(logits, dtype="float64", requires_grad=True)
    got = cross_entropy(x, labels)
    if not isinstance(got, md.Tensor):
        raise Wrong("`cross_entropy` must return a tensor: compute with `md.ops`, not with NumPy.")
    if got.node is None:
        raise Wrong(
            "The loss does not remember the scores: compute with the tensor from beginning to end, "
            "not with NumPy or with the array in it."
        )
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    at_label = np.log(p[np.arange(6), labels])
    m = logits.max(1)
    mistakes = {
        SUM: -at_label.sum(),
        "You return a loss for each image: take their mean.": -at_label,
        "`t[:, labels]` takes whole columns: t[np.arange(N), labels] takes one number of each "
        "row.": -np.log(p)[:, labels].mean(),
        "You divide by the mean of e^(score); softmax divides by the sum over the classes.": (
            -(at_label + np.log(4)).mean()
        ),
        "m is subtracted in the sum, but not from s: ln p = s - m - ln Σ e^(s - m).": (
            -(at_label + m).mean()
        ),
        "m is subtracted from s, but not in the sum: ln p = s - m - ln Σ e^(s - m).": (
            -(at_label - m).mean()
        ),
        "You weigh every class by its probability; only the right class counts.": (
            -(p * np.log(p)).sum(1).mean()
        ),
        "The sign is the other way round: the loss is -ln p.": at_label.mean(),
        "You take the mean over all classes; only the right class counts.": -np.log(p).mean(),
        "The softmax runs over the batch (axis 0); it belongs to the classes (axis 1).": -np.log(
            (np.exp(logits) / np.exp(logits).sum(0))[np.arange(6), labels]
        ).mean(),
    }
    compare("The loss of a batch of 6", got, -at_label.mean(), mistakes)
    gradient("your loss", lambda x: cross_entropy(x, labels), logits)
    for says, scores, label, right in EXTREME:
        x = md.tensor(scores, dtype="float64", requires_grad=True)
        with np.errstate(all="ignore"):
            loss = cross_entropy(x, np.array(label))
            loss.backward()
        value = float(loss)
        if not np.isfinite(value):
            raise Wrong(f"For {says} the loss is {value}, but it must be {right:g}. {_why(value)}")
        mistakes = {HIDDEN: value} if 0 < value < right / 2 else {}
        compare(f"For {says}, the loss", value, right, mistakes)
        if x.grad is None or not np.isfinite(x.grad.numpy()).all():
            raise Wrong(f"For {says} the loss is right, but its gradient is not finite.")
    return "Value and gradient agree, and scores of ±10,000 give finite losses and gradients."


def _why(value: float) -> str:
    if np.isnan(value):
        return (
            "e to a large score is infinite, and inf/inf is no number: subtract the largest score "
            "of each row first."
        )
    if value < 0:
        return (
            "The sum of e^(s - m) was rounded to 0 in one row: take for m the largest score of "
            "each row, not of the whole batch."
        )
    return (
        "A probability was rounded to 0 before its logarithm was taken: use "
        "ln p = s - m - ln Σ e^(s - m), with m the largest score of each row."
    )


# In words, the scores, the labels, the loss.
EXTREME = [
    ("the scores 10,000 and 0, the first right", [[1e4, 0.0]], [0], 0.0),
    ("the scores 10,000 and 0, the second right", [[1e4, 0.0]], [1], 1e4),
    ("two rows, 10,000 and -10,000 beside 0", [[1e4, 0.0], [-1e4, 0.0]], [1, 0], 1e4),
    ("the scores -10,000 and -10,000", [[-1e4, -1e4]], [0], float(np.log(2))),
    ("a row of 10,000 above a row of 0", [[1e4, 1e4], [0.0, 0.0]], [0, 1], float(np.log(2))),
]
