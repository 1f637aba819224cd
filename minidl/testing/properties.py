"""Properties of every right gradient: it keeps the dtype, takes any memory layout, and adds up."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..device import Array, array_module, is_host
from ..modes import no_grad
from .differences import EPS, Arrays, dot_abs, terms
from .problem import Problem

EPS32 = float(np.finfo(np.float32).eps)


def layouts_of(a: Array) -> Iterator[tuple[str, Array]]:
    """The same values in three memory layouts that an operation may not expect."""
    xp = array_module(a)
    yield "Fortran-ordered", xp.array(a, order="F")
    wide = xp.full(tuple(2 * n for n in a.shape), np.nan if a.dtype.kind == "f" else 0, a.dtype)
    index: Any = (..., *(slice(None, None, 2),) * a.ndim)
    every_second = wide[index]
    every_second[...] = a
    yield "strided", every_second
    reverse: Any = (..., *(slice(None, None, -1),) * a.ndim)
    yield "reversed (negative strides)", xp.array(a[reverse], order="C")[reverse]


def broadcast_view(a: Array) -> Array:
    """The first entry of the leading axis repeated along it, with stride 0."""
    return array_module(a).broadcast_to(a[:1], a.shape) if a.ndim and a.size else a


def check_dtype(problem: Problem, u: Arrays, rng: np.random.Generator) -> None:
    """float32 inputs give a float32 result and float32 gradients, near those of float64."""
    values = [x.astype(np.float32).astype(np.float64) for x in problem.values]
    leaves, outputs = problem.backward(values, u, np.float32)
    for out in outputs:
        if out.dtype != np.float32:
            raise problem.error(f"expected a float32 result from float32 inputs, got {out.dtype}")
    y, exact = problem(values), problem.gradient(values, u)
    for i, (leaf, g, x) in enumerate(zip(leaves, exact, values, strict=True)):
        size = np.maximum(np.abs(x), 0.01)
        assert leaf.grad is not None
        gap = dot_abs([leaf.grad.numpy() - g], [size])
        if not gap <= 1e-4 * dot_abs([g], [size]) + 64 * EPS32 * dot_abs(y, u):
            raise problem.error(
                f"the float32 gradient of input {i} is off the float64 one by {gap:.2e} of "
                f"{dot_abs([g], [size]):.2e}"
            )


def _run(problem: Problem, arrays: list[Array], u: list[Array]) -> tuple[Arrays, Arrays]:
    """(outputs, gradients); the tensors hold the arrays themselves, so their layout is kept."""
    leaves = [problem.put(a) for a in arrays]
    for leaf in leaves:
        leaf.requires_grad = True
    outputs = problem.call(leaves)
    for y, g in zip(outputs, u, strict=True):
        if y.requires_grad:
            y.backward(problem.put(g))
    grads = [np.zeros(t.shape) if t.grad is None else t.grad.numpy() for t in leaves]
    return [y.numpy() for y in outputs], grads


def _same(problem: Problem, what: str, found: Arrays, expected: Arrays, noise: float) -> None:
    for i, (a, b) in enumerate(zip(found, expected, strict=True)):
        near = 1e-12 * float(np.abs(b).max(initial=0)) + noise
        if a.shape != b.shape:
            raise problem.error(f"{what} {i} has shape {a.shape}, expected {b.shape}")
        if not np.all(np.abs(a - b) <= near):
            raise problem.error(f"{what} {i} differs by {np.abs(a - b).max():.2e}")


def check_layout(problem: Problem, u: Arrays, rng: np.random.Generator) -> None:
    """The memory layout of an input or a cotangent changes neither value nor gradient."""
    y, g = _run(problem, problem.values, u)
    noise = 100 * EPS * terms(problem.values, y, u)
    values, given = [problem.put(x).data for x in problem.values], [problem.put(a).data for a in u]
    for name, _ in layouts_of(np.zeros(())):
        arrays = [dict(layouts_of(x))[name] for x in values]
        cotangents = [dict(layouts_of(a))[name] for a in given]
        for a in (*arrays, *cotangents):
            if is_host(a):
                a.flags.writeable = False
        found, grads = _run(problem, arrays, cotangents)
        _same(problem, f"with {name} inputs, output", found, y, noise)
        _same(problem, f"with {name} inputs and cotangents, gradient", grads, g, noise)
    repeated, u0 = [broadcast_view(x) for x in values], [broadcast_view(a) for a in given]
    with np.errstate(all="ignore"):  # f may have no derivative where entries are equal
        y, g = _run(problem, [x.copy() for x in repeated], [a.copy() for a in u0])
    if all(np.all(np.isfinite(a)) for a in (*y, *g)):
        found, grads = _run(problem, repeated, u0)
        _same(problem, "with broadcast inputs (stride 0), output", found, y, noise)
        _same(problem, "with broadcast inputs and cotangents (stride 0), gradient", grads, g, noise)


def check_graph(problem: Problem, u: Arrays, rng: np.random.Generator) -> None:
    """Gradients add up over uses and passes, and are linear in the cotangent. Under no_grad the
    result is the same and nothing is recorded.
    """
    y, g = _run(problem, problem.values, u)
    noise = 100 * EPS * terms(problem.values, y, u)
    leaves = [problem.leaf(x) for x in problem.values]
    outputs = problem.call(leaves)
    for _ in range(2):
        for out, a in zip(outputs, u, strict=True):
            if out.requires_grad:
                out.backward(problem.put(a), retain_graph=True)
    twice = [np.zeros(t.shape) if t.grad is None else t.grad.numpy() for t in leaves]
    _same(problem, "after two backward passes, half the gradient", [a / 2 for a in twice], g, noise)

    shared = [problem.leaf(x) for x in problem.values]
    inner = [t * 1.0 for t in shared]  # both calls below meet again in these: a diamond
    for first, second, a in zip(problem.call(inner), problem.call(inner), u, strict=True):
        total = 0.25 * first + second * 0.5
        if total.requires_grad:
            total.backward(problem.put(a))
    diamond = [np.zeros(t.shape) if t.grad is None else t.grad.numpy() for t in shared]
    _same(problem, "used twice (0.25 + 0.5), gradient", diamond, [0.75 * a for a in g], noise)

    v = [rng.normal(size=a.shape) for a in u]
    h = _run(problem, problem.values, v)[1]
    found = _run(problem, problem.values, [2.0 * a - b for a, b in zip(u, v, strict=True)])[1]
    for i, (a, b, mixed) in enumerate(zip(g, h, found, strict=True)):
        near = 1e-11 * np.maximum(np.abs(a), np.abs(b)).max(initial=0) + 10 * noise
        if not np.all(np.abs(2.0 * a - b - mixed) <= near):
            raise problem.error(f"the gradient of input {i} is not linear in the cotangent")

    with no_grad():
        quiet = problem.call(leaves)
    for out, expected in zip(quiet, y, strict=True):
        if out.requires_grad:
            raise problem.error("the result under no_grad() needs a gradient: it was recorded")
        _same(problem, "under no_grad(), output", [out.numpy()], [expected], 0.0)


PROPERTIES: dict[str, Callable[[Problem, Arrays, np.random.Generator], None]] = {
    "dtype": check_dtype,
    "layout": check_layout,
    "graph": check_graph,
}
