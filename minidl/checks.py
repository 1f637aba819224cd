"""The checks of arguments that many rooms share."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .errors import CheckpointError, ConfigError

_TESTS: dict[str, Callable[[Any], Any]] = {
    "an int >= 0": lambda x: isinstance(x, int | np.integer) and x >= 0,
    "an int >= 1": lambda x: isinstance(x, int | np.integer) and x >= 1,
    "in [0, 1)": lambda x: 0 <= x < 1,
    "in [0, 1]": lambda x: 0 <= x <= 1,
    ">= 0": lambda x: 0 <= x < float("inf"),
    "> 0": lambda x: x > 0,
}


def check(call: str, expected: str, **options: Any) -> None:
    """Raise ConfigError unless each option is a number as expected, which is a key of _TESTS."""
    for name, x in options.items():
        number = isinstance(x, int | float | np.number) and not isinstance(x, bool)
        if not (number and _TESTS[expected](x)):
            raise ConfigError(f"{call}: expected {name} {expected}, got {x!r}")


def same_shapes(call: str, shapes: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Raise CheckpointError naming all in `state` that is missing, unknown or of another shape."""
    found = {n: tuple(v.shape if hasattr(v, "shape") else np.shape(v)) for n, v in state.items()}
    differ = [
        f"{name}: expected {shapes.get(name, 'nothing')}, found {found.get(name, 'nothing')}"
        for name in {**shapes, **found}
        if shapes.get(name) != found.get(name)
    ]
    if differ:
        hint = f"{call}: this was saved with other options than these:"
        raise CheckpointError("\n  ".join([hint, *differ]))
