"""Write `is_right`, a test that tells right gradients from wrong ones."""

from collections.abc import Callable
from types import ModuleType

import numpy as np

import minidl as md
from minidl import Tensor
from minidl.tensor import record

from .answers import Wrong, function

Op = Callable[[Tensor], Tensor]


def check(answer: ModuleType) -> str:
    """Right operations must pass, and each planted mistake must be found."""
    is_right = function(answer, "is_right")
    for says, f, x, hint in RIGHT:
        if not _verdict(is_right, f, x):
            raise Wrong(f"Your test rejects {says}, whose gradient is right. {hint}")
    for says, f, x, hint in WRONG:
        if _verdict(is_right, f, x):
            raise Wrong(f"Your test accepts {says}, whose gradient is wrong. {hint}")
    return f"{len(RIGHT)} right operations pass, and {len(WRONG)} planted mistakes are found."


def _verdict(is_right: Callable, f: Op, x: list[float]) -> bool:
    verdict = is_right(f, np.array(x))
    if not isinstance(verdict, bool | np.bool_):
        raise Wrong(f"`is_right` must return True or False, not {verdict!r}.")
    return bool(verdict)


def _op(name: str, value: Callable, slope: Callable) -> Op:
    """An operation whose pullback multiplies by any slope, right or wrong."""
    return lambda x: record(value(x.data), (x, lambda g, y: g * slope(x.data)), name=name)


def _last_element(x: np.ndarray) -> np.ndarray:
    slope = 2 * x
    slope[-1] *= 1.5
    return slope


def _exchanged(x: np.ndarray) -> np.ndarray:
    return (2 * x)[::-1]


STEP_HINT = (
    "One step to one side, or a step of the wrong size, is too rough: use both sides, "
    "(f(x + h) - f(x - h)) / (2 * h), with h near 1e-5. If you do: `up = x` is the same array as "
    "`x`, so a change of one changes both. Move an element of a copy, `x.copy()`."
)
RIGHT = [
    ("x²", md.ops.square, [0.5, -1.5, 2.0], STEP_HINT),
    ("sin x", md.ops.sin, [0.3, 1.0], STEP_HINT),
    ("eˣ", md.ops.exp, [0.5, 1.0, -1.0], STEP_HINT),
    (
        "10⁶·x³",
        lambda x: 1e6 * x**3,
        [1.0, -2.0],
        "Its gradients are large, so their rounding errors are too: divide the difference by the "
        "size of the gradient.",
    ),
]
WRONG = [
    (
        "x² with slope x",
        _op("half", np.square, lambda x: x),
        [0.5, -1.5, 2.0],
        "Compare the two numbers, not only their signs.",
    ),
    (
        "sin x with slope -cos x",
        _op("sign", np.sin, lambda x: -np.cos(x)),
        [0.3, 1.0],
        "The sizes agree, the sign does not: do not take the absolute value of each one.",
    ),
    (
        "x² with a wrong slope at the last number only",
        _op("last", np.square, _last_element),
        [0.5, -1.5, 2.0],
        "Look at every element: it is not enough that one of them agrees.",
    ),
    (
        "x² with two slopes exchanged",
        _op("exchanged", np.square, _exchanged),
        [0.5, 2.0],
        "Their sum is right, each of them is wrong: move one element at a time.",
    ),
    (
        "10⁻⁶·x² with slope 10⁻⁶·x",
        _op("small", lambda x: 1e-6 * x * x, lambda x: 1e-6 * x),
        [0.5, 0.25],
        "Its gradients are small, and so is the difference: divide it by the size of the gradient.",
    ),
    (
        "x² with a slope 0.1 percent too large",
        _op("nearly", np.square, lambda x: 2.002 * x),
        [0.5, 2.0],
        "Be stricter: a right gradient agrees to 1e-6 of its size.",
    ),
]
