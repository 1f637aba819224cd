"""Write `largest_rate`, which finds where descent begins to explode."""

from collections.abc import Callable
from types import ModuleType

import numpy as np

import minidl as md
from minidl import Tensor

from .answers import array, compare, function

TOLERANCE = 0.01  # of the rate: power iteration comes near to the curvature, but never reaches it
LENGTH = (
    "v has become 0 or too large for a number: begin with a random v, and divide it by its length "
    "in each round."
)


def check(answer: ModuleType) -> str:
    """Valleys with known curvatures, turned in space so that no axis shows them."""
    largest_rate = function(answer, "largest_rate")
    for count, (low, high) in ((2, (1.0, 10.0)), (20, (0.1, 40.0)), (50, (0.01, 3.0))):
        matrix = _valley(count, low, high)
        loss = _loss(matrix)
        with np.errstate(all="ignore"):  # a v that grows without end is judged by its rate
            got = largest_rate(loss, count)
        trace = float(np.trace(matrix))
        mistakes = {
            "That is 1/λ: descent still comes to rest up to twice as much.": 1 / high,
            "The smallest curvature was used; the largest one sets the limit.": 2 / low,
            "You add up the curvatures of all axes; take the largest of any direction.": 2 / trace,
            "You use their mean; the direction of the largest curvature decides.": 2
            * count
            / trace,
            "You look along the axes only; the largest curvature may lie between them.": 2
            / float(np.max(np.diag(matrix))),
            "That is λ itself; the limit of the rate is 2/λ.": high,
        }
        what = f"For a valley of {count} parameters, your rate"
        _check_rest(what, loss, array(what, got), count, mistakes, 2 / high)
    return "For three valleys your rate is within one percent of 2/λ."


def _check_rest(
    what: str,
    loss: Callable[[Tensor], Tensor],
    got: np.ndarray,
    count: int,
    mistakes: dict[str, float],
    right: float,
) -> None:
    """Compare the rate; if no known mistake explains it, say how descent ends with it."""
    sentences = dict(mistakes)
    theta = np.ones(count)
    with np.errstate(all="ignore"):
        for _ in range(300):
            theta = theta - float(got) * md.grad(loss)(theta).numpy() if got.size == 1 else theta
        end = float(loss(md.tensor(theta, dtype="float64")))
    if got.size == 1:
        rate = float(got)
        if not np.isfinite(rate) or rate == 0:
            sentences[LENGTH] = rate
        elif all(abs(rate - m) > 0.01 * m for m in mistakes.values()):
            happened = (
                f"With it, the loss is {end:.2g} after 300 steps: too large a rate. Were there "
                "enough rounds of power iteration, and was v divided by its length (the root of "
                "v·v) in each?"
                if rate > right
                else "With it descent comes to rest, but so it does with larger rates: "
                "λ = v·(H·v) needs a v of length 1."
            )
            sentences[happened] = rate
    compare(what, got, right, sentences, tolerance=TOLERANCE)


def _valley(count: int, low: float, high: float) -> np.ndarray:
    """A symmetric matrix with eigenvalues (curvatures) from low to high, in random directions."""
    rng = np.random.default_rng(count)
    turn, _ = np.linalg.qr(rng.normal(size=(count, count)))
    curvatures = np.linspace(low, 0.8 * high, count)
    curvatures[-1] = high
    return turn @ np.diag(curvatures) @ turn.T


def _loss(matrix: np.ndarray) -> Callable[[Tensor], Tensor]:
    a = md.tensor(matrix, dtype="float64")

    def loss(theta: Tensor) -> Tensor:
        return (theta * (a @ theta)).sum() / 2

    return loss
