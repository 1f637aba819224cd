"""Write `square`, an operation with its own derivative."""

import inspect
from types import ModuleType

import numpy as np

import minidl as md
from minidl.tensor import Node

from .answers import Wrong, compare, function, gradient


def check(answer: ModuleType) -> str:
    """The value, the gradient at a cotangent that is not 1, and the second derivative."""
    square = function(answer, "square")
    x = md.tensor([3.0, -2.0, 0.5], requires_grad=True)
    y = square(x)
    values = x.numpy().astype(np.float64)
    if isinstance(y, md.Tensor) and isinstance(y.data, md.Tensor):
        raise Wrong(
            "`record` got a tensor as the value, and it needs the array in it: compute the value "
            "with `x.data`, not with `x`."
        )
    compare("square([3, -2, 0.5])", y, values**2, {"That is 2x, the slope.": 2 * values})
    if not isinstance(y, md.Tensor) or y.node is None:
        raise Wrong("`square` returns numbers without a memory: end it with `record(...)`.")
    _recorded(x, y.node)

    g = np.array([1.0, 10.0, 100.0])
    try:
        y.backward(g)
    except md.errors.ShapeError as error:
        raise Wrong(
            "The gradient must have the shape of x, one number for each number of x: multiply g by "
            f"the slope, and do not sum. ({error})"
        ) from None
    if x.grad is None:
        raise Wrong("No gradient arrives at x: give `record` the pair (x, pullback).")
    mistakes = {
        "The pullback forgets g, the gradient that arrives: multiply 2x by it.": 2 * values,
        "The factor 2 of the slope 2x is missing.": g * values,
        "The pullback hands on g as it came: multiply it by the slope, 2x.": g,
        "The slope of x² is 2x; the pullback multiplies by the value x² instead.": g * values**2,
        "The slope of x² is 2x, and y is x²: multiply g by 2x, not by 2y.": g * 2 * values**2,
    }
    what = "For g = [1, 10, 100], the gradient that your pullback gives"
    compare(what, x.grad, g * 2 * values, mistakes)
    try:
        second = md.grad(md.grad(square))(3.0)
    except md.errors.GradientError:
        second = None
    if second is None or abs(float(second) - 2) > 1e-6:
        raise Wrong(
            "The gradient is right, but its own derivative is lost: inside the pullback, compute "
            "with the tensor `x`, not with the array `x.data`."
        )
    report = gradient("square", square, values, order=2)
    return (
        "Value, gradient and second derivative agree with differences of the values; the largest "
        f"relative error is {report.worst:.0e}."
    )


def _recorded(x: md.Tensor, node: Node) -> None:
    """Wrong unless the node is the reader's own: x, and one pullback of g and y."""
    inputs = node.inputs or ()
    if [source is x for source, _ in inputs] not in ([True], []):
        raise Wrong(
            f"Your result was made by minidl's operation '{node.name}', with its derivative. "
            "Write your own: compute the value as an array, and give `record` the pair (x, "
            "pullback)."
        )
    try:
        for _, pullback in inputs:
            inspect.signature(pullback).bind("g", "y")
    except TypeError:
        raise Wrong(
            "The pullback is called with two arguments, the gradient g and the result y: write "
            "`lambda g, y: ...`, even if you use only one of them."
        ) from None
