"""Write `undo_broadcast`, which sums a gradient back to the shape of its value."""

from types import ModuleType

import numpy as np

from .answers import Wrong, array, compare, function

# The shape of the value, and the shape of the gradient that comes back.
CASES = [
    ((3, 4), (3, 4)),
    ((4,), (3, 4)),
    ((4,), (2, 3, 4)),
    ((3, 1), (3, 4)),
    ((1, 4), (3, 4)),
    ((1, 1), (3, 4)),
    ((2, 1, 4), (5, 2, 3, 4)),
    ((1,), (5,)),
    ((), (3, 4)),
    ((), ()),
    ((3,), (3, 3)),
    ((1, 3), (0, 3)),
]


def check(answer: ModuleType) -> str:
    """Shapes of every kind, then random ones; the values are whole numbers, so sums are exact."""
    undo = function(answer, "undo_broadcast")
    rng = np.random.default_rng(0)
    drawn = [_drawn(rng) for _ in range(50)]
    for shape, grown in CASES + drawn:
        g = rng.integers(-9, 10, grown).astype(np.float64)
        before = g.copy()
        what = f"For a value of shape {shape} and g of shape {grown}, your result"
        try:
            got = undo(g, shape)
        except ValueError as error:
            if "cannot reshape" not in str(error):
                raise
            raise Wrong(
                f"{what} is a ValueError: {error}. `reshape` sums nothing: first sum over the new "
                "axes in front, and over each axis where the value has length 1."
            ) from None
        _check_shape(what, array(what, got), shape, grown)
        compare(what, got, _right(g, shape), _mistakes(g, shape))
        if not np.array_equal(before, g):
            raise Wrong("Your function changes `g` itself, which others may still need.")
    return f"{len(CASES) + len(drawn)} pairs of shapes, among them numbers and empty arrays."


def _right(g: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The right answer, found without a rule about axes.

    Each element of g is added to the element of the value that was copied to its place.
    """
    out = np.zeros(shape)
    origin = np.broadcast_to(np.arange(out.size).reshape(shape), g.shape)
    np.add.at(out.reshape(-1), origin.reshape(-1), g.reshape(-1))
    return out


def _mistakes(g: np.ndarray, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    uses = max(g.size // max(int(np.prod(shape)), 1), 1)
    found = {
        "You take the mean over the uses; the gradient is their sum.": _right(g, shape) / uses,
    }
    if g.size and len(shape) <= g.ndim:
        largest = np.full(shape, -np.inf)
        at = np.broadcast_to(np.arange(largest.size).reshape(shape), g.shape)
        np.maximum.at(largest.reshape(-1), at.reshape(-1), g.reshape(-1))
        found["You keep the largest of the uses; the gradient is their sum."] = largest
        first = np.zeros(shape)
        new = g.ndim - len(shape)
        inner = g[(0,) * new]
        keep = tuple(slice(0, 1) if n == 1 else slice(None) for n in shape)
        first[...] = inner[keep]
        found["You keep one of the uses and forget the others; add all of them."] = first
    if g.size:
        found["`reshape` puts numbers together that belong to different places: sum over axes."] = (
            g.reshape(-1, *shape).sum(0)
        )
    if g.ndim == 2 and shape == (g.shape[0],) == (g.shape[1],):
        found["NumPy compares shapes from the right: sum over the first axis."] = g.sum(1)
    return found


def _check_shape(
    what: str, got: np.ndarray, shape: tuple[int, ...], grown: tuple[int, ...]
) -> None:
    if got.shape == shape:
        return
    new = len(grown) - len(shape)
    # The shapes to which two mistakes lead: the last axes summed, and axes counted too early.
    at_the_end = tuple(1 if n == 1 else m for n, m in zip(shape, grown, strict=False))
    too_early = (at_the_end + grown[len(shape) :])[max(new, 0) :]
    if new > 0 and got.ndim > len(shape):
        reason = "The value has fewer axes: sum over the new ones in front, without keepdims."
    elif got.ndim < len(shape):
        reason = "An axis of length 1 was summed away: keep it, with keepdims=True."
    elif new > 0 and got.shape == at_the_end:
        reason = (
            "NumPy compares shapes from the right, so the new axes stand in front: sum over the "
            "first axes, not over the last."
        )
    elif new > 0 and got.shape == too_early:
        reason = (
            "The axes of length 1 were looked up in g while its new axes still stood in front: "
            "sum the new axes away first."
        )
    else:
        reason = "Where the value has length 1, g must be summed along that axis."
    raise Wrong(f"{what} has shape {got.shape}, but a gradient has its value's shape. {reason}")


def _drawn(rng: np.random.Generator) -> tuple[tuple[int, ...], tuple[int, ...]]:
    grown = tuple(int(n) for n in rng.integers(1, 5, rng.integers(0, 5)))
    kept = grown[int(rng.integers(0, len(grown) + 1)) :]
    return tuple(1 if rng.random() < 0.4 else n for n in kept), grown
