"""The message of a failed gradient check: place, size and likely kind of the mistake."""

from itertools import permutations

import numpy as np

from .differences import Arrays, Function, coordinates, project

SWEEP = tuple(10.0**-k for k in range(2, 10))
MOST = 200  # elements of one input that are looked at one by one


def explain(
    head: str, f: Function, values: Arrays, gradient: Arrays, u: Arrays, d: Arrays, bound: float
) -> str:
    """The message: for each wrong input its worst element, the pattern, and a step-size sweep."""
    lines = [head]
    for i, (x, g) in enumerate(zip(values, gradient, strict=True)):
        if x.size:
            lines += _wrong_input(i, f, values, g, u, bound)
    if len(lines) == 1:
        lines.append(
            "  each element agrees by itself; together they do not: look for a function that "
            "depends on the order of its calls, or for values near a kink"
        )
    lines.append("  step h    uᵀJd by differences   error  (backward says the same at each h)")
    for step in SWEEP:
        p = project(f, values, gradient, u, d, step)
        lines.append(f"  {step:.0e}   {p.numeric: .12e}   {p.error:.1e}")
    lines.append(f"  backward  {p.analytic: .12e}   bound {bound:.0e}")
    return "\n".join(lines)


def _wrong_input(
    i: int, f: Function, values: Arrays, g: np.ndarray, u: Arrays, bound: float
) -> list[str]:
    x = values[i]
    indices = list(np.ndindex(x.shape))
    if len(indices) > MOST:
        chosen = np.random.default_rng(0).choice(len(indices), MOST, replace=False)
        indices = [indices[k] for k in sorted(chosen.tolist())]
    numeric = coordinates(f, values, u, i, indices)
    analytic = np.array([g[index] for index in indices])
    gap = np.abs(numeric - analytic)
    largest = max(float(np.abs(numeric).max()), float(np.abs(analytic).max()), 1e-300)
    wrong = gap > max(100 * bound, 1e-5) * largest
    if not wrong.any():
        return []
    k = int(np.argmax(gap))
    where = list(indices[k])
    ratio = f"{analytic[k] / numeric[k]:.6g}" if numeric[k] else "undefined (numeric is 0)"
    lines = [
        f"  input {i} of shape {x.shape}: {int(wrong.sum())} of {len(indices)} elements are wrong",
        f"    worst at {where}: numeric {numeric[k]:.9g}, analytic {analytic[k]:.9g}, "
        f"analytic/numeric {ratio}",
    ]
    whole = numeric.reshape(x.shape) if len(indices) == x.size else None
    hint = _pattern(numeric, analytic, whole, g, 1e-4 * largest)
    return [*lines, f"    it looks like: {hint}"] if hint else lines


def _pattern(
    numeric: np.ndarray, analytic: np.ndarray, whole: np.ndarray | None, g: np.ndarray, near: float
) -> str:
    """The name of the common mistake that changes all elements in the way seen here; "" if none."""

    def same(a: np.ndarray, b: np.ndarray) -> bool:
        return a.shape == b.shape and bool(np.all(np.abs(a - b) <= near))

    if same(analytic, np.zeros_like(analytic)):
        return "a gradient that never arrives (0 everywhere): .data, no_grad or a missing pullback"
    if same(numeric, np.zeros_like(numeric)):
        return "a gradient where the function is constant (numeric is 0 everywhere)"
    factor = float(np.sum(analytic * numeric) / np.sum(numeric * numeric))
    if same(analytic, -numeric):
        return "a wrong sign (analytic = -numeric everywhere)"
    if same(analytic, factor * numeric):
        return f"a wrong factor (analytic = {factor:.6g} × numeric everywhere)"
    if whole is not None:
        for axes in permutations(range(whole.ndim)) if whole.ndim < 5 else ():
            if same(g, whole.transpose(axes)):
                return f"a transposed gradient (right for the axes in the order {axes})"
        for axis in range(whole.ndim):
            if same(g, np.flip(whole, axis)):
                return f"a gradient reversed along axis {axis}"
        if same(np.sort(g, axis=None), np.sort(whole, axis=None)):
            return "the right values at the wrong places"
    right = np.abs(analytic - numeric) <= near
    if np.all(right | (np.abs(analytic) <= near)):
        return "a gradient that is lost at some elements (0 there, right elsewhere)"
    if same(analytic - numeric, np.full_like(numeric, float(np.mean(analytic - numeric)))):
        return f"a constant added (analytic = numeric + {float(np.mean(analytic - numeric)):.6g})"
    return ""
