"""The team that trains: this process alone, or several processes that share each batch.

A Trainer calls its team at the few places where the number of processes makes a difference. `Team`
is one process, so most of its methods do nothing. `distributed.Processes` is several.
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
    """One process, which has every image.

    rank: this process's number, from 0. size: the number of processes.
    request: the signal that this process has received during the training.
    gradients: the function that replaces `step.gradients` if the batch is shared, or None.
    """

    rank, size = 0, 1
    gradients: Callable[..., Array] | None = None

    def __init__(self) -> None:
        self.request = StopRequest()

    def together(self) -> AbstractContextManager[Any]:
        """Context of work that all do: an error that one process alone meets ends all of them."""
        return nullcontext()

    def first(self, action: Callable[[], Result]) -> Result:
        """Run action() in process 0 alone; every process gets its result, or raises its error."""
        return action()

    def check(self, batch_size: int) -> None:
        """Raise ConfigError for batches that are too small to be shared."""

    def begin(self, session: "Session", about: dict[str, Any], say: Callable[[str], Any]) -> None:
        """Before the first step: check that all processes train the same; share the first's state.

        about: arguments that must be equal in all processes, in addition to the recipe. say: a
        function that is called with a line about how batches are shared.
        """

    def rows(self, count: int) -> slice:
        """This process's rows of a batch of `count`."""
        return slice(0, count)

    def owners(self, rows: Sequence[int], count: int) -> str:
        """Text that says which processes have these rows of a batch of `count`; or ""."""
        return ""

    def batches(self, count: int, size: int) -> slice:
        """This process's part of `count` rows, if only whole batches of `size` are given out."""
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
