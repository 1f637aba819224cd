"""Choosing the learning rate: by a test with a rising rate, or by the doctor's verdict on a rate.

Both leave the model as it was.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import device, notebook
from ..checks import check
from ..data import DataLoader, Dataset
from ..errors import ConfigError, DataError
from ..nn import Module
from ..ops import cross_entropy
from ..tensor import ArrayLike
from ..train.settings import Clip, Settings
from ..train.step import step
from .doctor import doctor, put_back
from .rules import FAST

LOWEST, HIGHEST, STEPS = 1e-6, 10.0, 100
_NEIGHBOURS = 5  # a smoothed loss is the mean of a loss and this many on each side
_BLOWN_UP = 4.0  # the test ends where the loss is this many times the lowest one
_LEAST_FALL = 0.01  # a fall by a smaller share of the first loss may be chance
_TRIAL_STEPS, _MOST_TRIES = 5, 20


@dataclass
class RateTest:
    """The losses of a training whose rate rises from step to step.

    rates, losses: the rate of each step, and the loss before it. smooth: the mean of each loss and
    its neighbours. Shapes: (steps,). suggestion: a rate to train with; None where the loss hardly
    fell.
    """

    rates: np.ndarray
    losses: np.ndarray
    smooth: np.ndarray
    suggestion: float | None

    def plot(self, path: Any = None) -> Any:
        """The loss by rate, with the suggestion marked. path: a file to write the figure to."""
        from .. import plot

        return plot.rates(self.rates, self.losses, self.smooth, self.suggestion, path)

    def _repr_html_(self) -> str:
        """The suggestion, in a notebook."""
        found = "none" if self.suggestion is None else notebook.number(self.suggestion)
        return f"<b>RateTest</b> of {len(self.rates)} steps, suggested rate: {found}"


def rate_test(
    model: Module,
    data: Dataset | tuple[ArrayLike, ArrayLike],
    optimizer: Any,
    *,
    batch_size: int = 64,
    loss: Callable[[Any, Any], Any] = cross_entropy,
    clip: Clip | None = None,
    lowest: float = LOWEST,
    highest: float = HIGHEST,
    steps: int = STEPS,
    seed: int = 0,
) -> RateTest:
    """Train with a rate that rises evenly on a log scale, and put everything back.

    The loss first stays, then falls, then rises as the rate becomes too high. The suggestion is
    half of the rate at which the smoothed loss is lowest. Steps of that size lower the loss, and
    steps twice as large do not blow up yet. It is a careful rate: a training that lowers its rate
    later may start with more. The test ends early where the loss is 4 times the lowest one, or not
    finite.
    data: the images and labels to train with. Where there are fewer batches than steps, they come
    again in another order. optimizer: made from model.parameters(); its rate is not used.
    loss, clip: as in the Trainer. lowest, highest: the rates of the first and the last step.
    steps: how many steps at most. seed: of the order of the images.
    Source: Smith 2017, "Cyclical Learning Rates for Training Neural Networks", section 3.3.
    Raises: ConfigError unless 0 < lowest < highest and steps >= 1; as the DataLoader for data and
    batch_size, and as the Trainer for optimizer and clip.
    """
    check("rate_test", "an int >= 1", steps=steps)
    check("rate_test", "> 0", lowest=lowest, highest=highest)
    if not lowest < highest < math.inf:
        raise ConfigError(f"rate_test: expected lowest < highest, got {lowest!r} and {highest!r}")
    loader = DataLoader(data, batch_size, shuffle=True, seed=seed)
    rates = np.geomspace(lowest, highest, steps)
    losses: list[float] = []
    with put_back(model, loss, optimizer), np.errstate(all="ignore"):
        copied = copy.deepcopy(optimizer, {id(p): p for p in optimizer.params})
        job = Settings(model, loss=loss, optimizer=copied, clip=clip, seed=seed)
        model.train()

        def look(measured: Any) -> float:
            loss_now, _, *norms = device.to_host(measured).tolist()
            losses.append(loss_now)
            return math.hypot(*norms)

        lowest_loss = np.inf
        while len(losses) < steps:
            for images, labels in loader:
                copied.lr = float(rates[len(losses)])
                step(job, job.place(images), job.place_targets(labels), look)
                lowest_loss = min(lowest_loss, losses[-1])
                blown_up = not losses[-1] <= _BLOWN_UP * abs(lowest_loss)
                if blown_up or len(losses) == steps:
                    break
            if blown_up:
                break
    kept = rates[: len(losses)]
    smooth = _smoothed(np.array(losses))
    return RateTest(kept, np.array(losses), smooth, _suggestion(kept, smooth))


def safe_rate(
    model: Module,
    batch: tuple[ArrayLike, ArrayLike],
    optimizer: Any,
    *,
    loss: Callable[[Any, Any], Any] = cross_entropy,
    clip: Clip | None = None,
) -> float:
    """A rate that the doctor does not call too high: the optimizer's own, or a lower one.

    Each rate is judged by the first update and five trial steps, which are undone. A rate that is
    too high is replaced by the doctor's remedy, at most half of it, and judged again. Where the
    signal itself explodes or vanishes no rate helps, and the optimizer's own is returned.
    Arguments: as for `doctor`.
    Raises: as `doctor`; DataError where the twentieth rate is still too high.
    """
    tried = copy.deepcopy(optimizer, {id(p): p for p in optimizer.params})
    for _ in range(_MOST_TRIES):
        found = doctor(model, batch, tried, loss=loss, clip=clip, trial_steps=_TRIAL_STEPS)
        if found.regime != FAST:
            break
        tried.lr = min(tried.lr / 2, float(found.remedy.get("lr", tried.lr / 2)))
    else:
        raise DataError(
            f"safe_rate: expected a rate that the doctor finds safe, but {tried.lr:.3g} is still "
            "too high; look at its report: md.health.doctor(model, batch, optimizer)"
        )
    return float(tried.lr)


def _smoothed(losses: np.ndarray) -> np.ndarray:
    """The mean of each loss and its five neighbours on both sides; fewer near the ends.

    A loss above 4 times the lowest counts as 4 times: a single one must not outweigh all others.
    """
    if not np.isfinite(losses).any():
        return losses
    kernel = np.ones(2 * _NEIGHBOURS + 1)
    lowest = losses[np.isfinite(losses)].min()
    held = np.minimum(np.nan_to_num(losses, nan=np.inf, posinf=np.inf), _BLOWN_UP * abs(lowest))
    sums = np.convolve(held, kernel)[_NEIGHBOURS:-_NEIGHBOURS]
    return sums / np.convolve(np.ones(len(losses)), kernel)[_NEIGHBOURS:-_NEIGHBOURS]


def _suggestion(rates: np.ndarray, smooth: np.ndarray) -> float | None:
    """Half of the rate at which the smoothed loss is lowest; None where it hardly fell."""
    lowest = int(np.argmin(smooth))
    with np.errstate(invalid="ignore"):  # inf - inf, where no loss was finite
        fell = smooth[0] - smooth[lowest] > _LEAST_FALL * abs(smooth[0])
    return float(rates[lowest] / 2) if fell else None
