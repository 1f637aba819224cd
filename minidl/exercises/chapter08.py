"""Write max-pooling and its gradient, for images full of ties."""

from types import ModuleType

import numpy as np

import minidl as md

from .answers import Wrong, array, compare, function

GEOMETRIES = [(2, 2), (3, 3), (3, 2), (2, 1), (3, 1), (2, 3)]  # size and stride
SEEDS = range(3)


def check(answer: ModuleType) -> str:
    """Check values, then the gradient's shape and sum, which no convention changes, then ties."""
    pool, back = function(answer, "pool"), function(answer, "pool_backward")
    for size, stride in GEOMETRIES:
        for seed in SEEDS:
            rng = np.random.default_rng(seed)
            x = rng.integers(-2, 2, size=(2, 2, *rng.integers(4, 8, 2))).astype(float)
            where = f"images {x.shape}, size {size}, stride {stride}"
            value, pull = md.vjp(lambda x, k=size, s=stride: md.ops.max_pool2d(x, k, stride=s), x)
            y = value.numpy()
            pooled = array(f"pool ({where})", pool(x.copy(), size, stride))
            compare(f"pool ({where})", pooled, y, _values(x, pooled, y, size, stride))

            g = rng.normal(size=y.shape)
            what, found = f"pool_backward ({where})", back(x.copy(), g.copy(), size, stride)
            _properties(what, x, g, array(what, found), size, stride)
            compare(what, found, pull(g).numpy(), _conventions(x, g, size, stride))
    count = len(GEOMETRIES) * len(SEEDS)
    return f"Values, sums and places of the gradient are right for {count} images full of ties."


def _values(
    x: np.ndarray, pooled: np.ndarray, y: np.ndarray, size: int, stride: int
) -> dict[str, np.ndarray]:
    """Wrong results of `pool`, each by the sentence that names its mistake."""
    mean, apart = np.zeros(y.shape), np.full(y.shape, np.nan)
    for n, k, r, c in np.ndindex(y.shape):
        top, left = r * stride, c * stride
        mean[n, k, r, c] = x[n, k, top : top + size, left : left + size].mean()
        window = x[n, k, r * size : (r + 1) * size, c * size : (c + 1) * size]
        apart[n, k, r, c] = window.max() if window.size else np.nan
    found = {
        "A window of zeros is laid under it: negative numbers are lost.": y.clip(0),
        "That is the mean of each window: keep the largest number.": mean,
        "The window moves by its size: it must move by `stride`.": apart,
    }
    if pooled.ndim == 4 and pooled.shape != y.shape and pooled.size > y.size:
        found["The last window sticks out of the image: round the number of places down."] = pooled
    return found


def _properties(
    what: str, x: np.ndarray, g: np.ndarray, dx: np.ndarray, size: int, stride: int
) -> None:
    """Shape and sum of dx. If every pixel rises by ε, so does each maximum: dx and g must have the
    same sum.
    """
    if dx.shape != x.shape:
        raise Wrong(f"{what} has shape {dx.shape}, but it must have that of x, {x.shape}.")
    if abs(dx.sum() - g.sum()) < 1e-9 * np.abs(g).sum():
        return
    for rule, sentence in {
        "all": "Every one of the largest pixels gets all of g: give it to one of them.",
        "overwrite": "Windows overlap, and each overwrites the one before: use += in place of =.",
        "every": "Every pixel of a window gets g: give it to the largest one alone.",
        "one": "The largest number gets 1: it must get g.",
        "value": "g is multiplied by the largest number: the slope is 1, so hand on g as it is.",
    }.items():
        if np.allclose(dx, _by_rule(x, g, size, stride, rule)):
            raise Wrong(f"The numbers of {what} have another sum than g. {sentence}")
    raise Wrong(
        f"The numbers of {what} sum to {dx.sum():.4g}, but those of g sum to {g.sum():.4g}. If "
        "every pixel rises by ε, each maximum rises by ε, so the two sums must be the same."
    )


def _conventions(x: np.ndarray, g: np.ndarray, size: int, stride: int) -> dict[str, np.ndarray]:
    """Wrong gradients with the right sum, each by the sentence that names its mistake."""
    rules = {
        "column": "Of several largest pixels, the first one by columns gets g: read row by row.",
        "image": "The largest number was looked for in the whole image: look in the window.",
        "last": "Of several largest pixels, the last of them gets g: give it to the first.",
        "shared": "Several largest pixels share g: give it to the first.",
        "corner": "The place of the maximum is counted from the corner of the window: add the "
        "place of the window to it.",
    }
    return {words: _by_rule(x, g, size, stride, rule) for rule, words in rules.items()}


def _by_rule(x: np.ndarray, g: np.ndarray, size: int, stride: int, rule: str) -> np.ndarray:
    """The gradient by x with the mistake `rule`, as in `_properties` and `_conventions`."""
    dx = np.zeros(x.shape)
    for n, k, r, c in np.ndindex(g.shape):
        top, left = r * stride, c * stride
        window = x[n, k, top : top + size, left : left + size]
        largest = (window == window.max()).astype(float)
        first, last = (divmod(int(np.flatnonzero(largest)[at]), size) for at in (0, -1))
        if rule == "overwrite":
            dx[n, k, top + first[0], left + first[1]] = g[n, k, r, c]
        elif rule == "image":
            found = divmod(int(np.flatnonzero(x[n, k] == window.max())[0]), x.shape[3])
            dx[n, k, found[0], found[1]] += g[n, k, r, c]
        elif rule == "one":
            dx[n, k, top + first[0], left + first[1]] += 1
        elif rule == "value":
            dx[n, k, top + first[0], left + first[1]] += g[n, k, r, c] * window.max()
        elif rule == "corner":
            dx[n, k, first[0], first[1]] += g[n, k, r, c]
        elif rule == "last":
            dx[n, k, top + last[0], left + last[1]] += g[n, k, r, c]
        elif rule == "column":
            across, down = divmod(int(largest.T.argmax()), size)
            dx[n, k, top + down, left + across] += g[n, k, r, c]
        elif rule == "every":
            dx[n, k, top : top + size, left : left + size] += g[n, k, r, c]
        else:
            share = largest / largest.sum() if rule == "shared" else largest
            dx[n, k, top : top + size, left : left + size] += share * g[n, k, r, c]
    return dx
