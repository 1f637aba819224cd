"""Who trains: this process alone, or several that share each batch.

A Trainer asks its team at the few places where that makes a difference. `Team` is one process, and
does nothing but what its name says. `distributed.Processes` is several.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

from .. import processes
from ..device import Array
from ..errors import ConfigError
from .interrupt import StopRequest

if TYPE_CHECKING:
    from .session import Session

Result = TypeVar("Result")


class Team:
    """One process, which has every image. rank: this process's number; size: how many there are.

    request: the signal that this process got while it trains.
    gradients: what takes the place of `step.gradients` where the batch is shared.
    """

    rank, size = 0, 1
    gradients: Callable[..., Array] | None = None

    def __init__(self) -> None:
        self.request = StopRequest()

    def together(self) -> AbstractContextManager[Any]:
        """Context of work that all do: an error that one process alone meets ends all of them."""
        return nullcontext()

    def first(self, action: Callable[[], Result]) -> Result:
        """What action() gives in process 0, or the error that it raises there, in each process."""
        return action()

    def check(self, batch_size: int) -> None:
        """Raises: ConfigError for batches that are too small to be shared."""

    def begin(self, session: "Session", about: dict[str, Any], say: Callable[[str], Any]) -> None:
        """Before the first step: compare the processes, give each the state of process 0.

        about: what must be equal in all, beside the recipe. say: is told how batches are shared.
        """

    def rows(self, count: int) -> slice:
        """Which rows of a batch of `count` are this process's."""
        return slice(0, count)

    def owners(self, rows: Sequence[int], count: int) -> str:
        """Whose images these rows of a batch of `count` are, as words; "" where all are one's."""
        return ""

    def batches(self, count: int, size: int) -> slice:
        """Which of `count` rows are this process's where batches of `size` are given out whole."""
        return slice(0, count)

    def all(self, found: list[Any]) -> list[Any]:
        """The lists of all processes, one after the other."""
        return found

    def stopped_by(self) -> int | None:
        """The number of the signal that ends the training after this step, in each process."""
        return self.request.number


def team(deterministic: bool = False, sync_batch_norm: bool = True) -> Team:
    """The team of this process, as the launcher has set it up. Options as in the Trainer.

    Raises: ConfigError where there are several processes that cannot be joined.
    """
    for name, value in (("deterministic", deterministic), ("sync_batch_norm", sync_batch_norm)):
        if not isinstance(value, bool):
            raise ConfigError(f"Trainer: expected {name} as True or False, got {value!r}")
    if deterministic and not sync_batch_norm:
        raise ConfigError(
            "Trainer: deterministic=True needs sync_batch_norm=True: the moments of a process's "
            "own images depend on the number of processes"
        )
    if processes.place()[1] > 1:
        from .distributed import join

        return join(deterministic, sync_batch_norm)
    if deterministic:
        from .meeting import Link
        from .shards import SHARDS, Shards, in_four

        return Shards(in_four(0, 1), SHARDS, Link(), deterministic=True, joined=True)
    return Team()
