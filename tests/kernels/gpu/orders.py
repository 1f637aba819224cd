"""Blocks in other orders: a GPU promises none, and every order must give the same bytes."""

from collections.abc import Callable, Sequence
from typing import Any

from tests.standin.kernels import ordered


def same_bytes_in_every_order(compute: Callable[[], Sequence[Any]], blocks: int) -> None:
    """Each block is the last one once, or one of six is; and all run backwards."""
    wanted = [a.get().tobytes() for a in compute()]
    starts = range(0, blocks, max(1, blocks // 6))
    for first, backwards in [*((start, False) for start in starts), (0, True), (1, True)]:
        with ordered(first, backwards):
            found = [a.get().tobytes() for a in compute()]
        assert found == wanted, f"from block {first} on, backwards: {backwards}"
