"""The functions that the checks share: they read a reader's answer, and say in words what is wrong.

A check is `check(answer) -> str`, where `answer` is the reader's file as a module. For a wrong
answer it raises `Wrong` with a sentence that says what is wrong. For a right one it returns a
sentence that says what was checked. A good message names the mistake, not only its effect. For this
`compare` takes the results of typical mistakes.
"""

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import numpy as np

from ..errors import GradientError
from ..tensor import Tensor
from ..testing import Report, gradcheck

MANY = 12  # numbers that a message shows one by one


class Wrong(Exception):
    """What is wrong with an answer, in plain sentences."""


def function(answer: ModuleType, name: str) -> Callable[..., Any]:
    """The function of that name in the reader's file. Raises: Wrong where there is none."""
    found = getattr(answer, name, None)
    if found is None:
        raise Wrong(f"The file has no `{name}`: the name is part of the exercise, so keep it.")
    if not callable(found):
        raise Wrong(f"`{name}` is {type(found).__name__}, but it must be a function.")
    return found


def array(what: str, value: Any) -> np.ndarray:
    """A result as an array of float64. Raises: Wrong where it is not made of numbers.

    what: the result in words, which begin the message.
    """
    if value is None:
        raise Wrong(f"{what} is None: is there a `return` at its end?")
    if isinstance(value, Tensor):
        value = value.numpy()
    try:
        return np.asarray(value, np.float64)
    except (TypeError, ValueError):
        raise Wrong(f"{what} is {type(value).__name__}, but it must be numbers.") from None


def compare(
    what: str,
    got: Any,
    right: Any,
    mistakes: Mapping[str, Any] | None = None,
    *,
    tolerance: float = 1e-6,
) -> None:
    """Raise Wrong unless `got` is `right`, up to the tolerance (relative to the largest value).

    what: the result in words, which begin the message: "The gradient of square at x = 3".
    mistakes: for each typical mistake, the sentence that names it and the result it leads to.
    """
    found, wanted = array(what, got), np.asarray(right, np.float64)
    if _same(found, wanted, tolerance):
        return
    said = f"{what} {_difference(found, wanted, tolerance)}"
    for sentence, result in (mistakes or {}).items():
        if _same(found, np.asarray(result, np.float64), tolerance):
            raise Wrong(f"{said} {sentence}")
    raise Wrong(said)


def _same(found: np.ndarray, wanted: np.ndarray, tolerance: float) -> bool:
    return found.shape == wanted.shape and bool(_close(found, wanted, tolerance).all())


def _close(found: np.ndarray, wanted: np.ndarray, tolerance: float) -> np.ndarray:
    size = float(np.max(np.abs(wanted[np.isfinite(wanted)]), initial=0.0)) or 1.0
    return np.isclose(found, wanted, rtol=0.0, atol=tolerance * size, equal_nan=True)


def _difference(found: np.ndarray, wanted: np.ndarray, tolerance: float) -> str:
    """How a result differs from the right one. Of a large array only the first wrong number is
    shown.
    """
    if found.shape != wanted.shape:
        return f"has shape {found.shape}, but it must have shape {wanted.shape}."
    if found.size <= MANY:
        return f"is {shown(found)}, but it must be {shown(wanted)}."
    wrong = ~_close(found, wanted, tolerance)
    first = tuple(int(i) for i in np.argwhere(wrong)[0])
    return (
        f"is wrong in {wrong.sum()} of {wrong.size} numbers: the one at {list(first)} is "
        f"{found[first]:.4g}, but it must be {wanted[first]:.4g}."
    )


_DIGITS: Any = {"float_kind": lambda value: f"{value:.6g}"}


def shown(values: np.ndarray) -> str:
    """An array as a message shows it: short, on one line, the middle of a large one left out."""
    text = np.array2string(values, separator=", ", threshold=MANY, edgeitems=3, formatter=_DIGITS)
    return " ".join(text.split())


def gradient(what: str, f: Callable[..., Tensor], *inputs: Any, order: int = 1) -> Report:
    """Compare the gradient of f with differences of its values. Raises: Wrong where they differ.

    order=2 also compares the derivative of the gradient.
    """
    try:
        return gradcheck(f, *inputs, order=order)
    except GradientError as error:
        raise Wrong(f"The gradient of {what} is not the slope of its value. {error}") from None
