"""Cases of operations that move values or sum products."""

from typing import Any

import numpy as np

from tests.ops import draws as d
from tests.ops import references as r
from tests.ops.case import Case, filled, given, same_shapes, shaped
from tests.ops.draws import Call, Rng, normal, pick


def shaped_draw(least: int, **options: Any) -> d.Draw:
    """x with at least so many axes; each option is a function of (rng, x), or absent (None)."""

    def draw(rng: Rng) -> Call:
        x = normal(rng, d.shape_of(rng, least))
        found = {name: make(rng, x) for name, make in options.items()}
        return [x], {name: value for name, value in found.items() if value is not None}

    return draw


def axis(rng: Rng, x: np.ndarray) -> int:
    return int(rng.integers(-x.ndim, x.ndim))


def new_shape(rng: Rng, x: np.ndarray) -> Any:
    return pick(rng, (x.size, -1, (1, x.size), (x.size, 1), (-1, 1), x.shape[::-1]))


def larger(rng: Rng, x: np.ndarray) -> tuple[int, ...]:
    grown = tuple(int(rng.integers(1, 4)) if n == 1 else n for n in x.shape)
    return (2, *grown) if d.chance(rng) else grown


def margins(rng: Rng, x: np.ndarray) -> Any:
    pairs = [pick(rng, (0, 1, (0, 2), (2, 1))) for _ in range(x.ndim)]
    return pick(rng, (1, 2, pairs))


def order(rng: Rng, x: np.ndarray) -> Any:
    axes = tuple(int(i) for i in rng.permutation(x.ndim))
    return pick(rng, (None, axes, tuple(i - x.ndim for i in axes)))


def unit_axis(rng: Rng, x: np.ndarray) -> Any:
    ones = [i for i, n in enumerate(x.shape) if n == 1]
    return pick(rng, (None, *ones, *(i - x.ndim for i in ones), tuple(ones)))


INDICES: tuple[Any, ...] = (
    *(0, -1, slice(None), slice(1, None), slice(None, None, 2), slice(None, None, -1), None, ...),
    *((0, 1), (slice(None), -1), (..., 0), (None, slice(1, 3)), (slice(2, 0, -1), ..., None)),
    *(np.array([0, 1, 0, 0]), np.array([[1, 1], [0, -1]]), [2, 0, 2], (..., np.array([1, 1, 0]))),
    *((np.array([0, 1, 1]), np.array([2, 2, 2])), (slice(None), np.array([0, 0])), (0, [1, 1])),
    *(np.array([True, False, True]), (np.array([True, False, True]), 0), np.zeros(3, bool)),
    (np.array([0, 0]), None, np.array([1, 1])),
    np.arange(12).reshape(3, 4) % 3 == 0,
)


def indexed(rng: Rng) -> Call:
    return [normal(rng, (3, 4))], {"index": pick(rng, INDICES)}


def joined(axis_from: int) -> d.Draw:
    """Two or three arrays equal but for the axis that they are joined along."""

    def draw(rng: Rng) -> Call:
        shape = list(d.shape_of(rng, 1 if axis_from == 0 else 0))
        n = len(shape) + axis_from
        at = int(rng.integers(-n, n))
        kwargs = {"axis": at} if rng.random() < 0.7 else {}
        arrays = []
        for _ in range(int(rng.integers(1, 4))):
            if axis_from == 0:
                shape[kwargs.get("axis", 0)] = int(rng.integers(1, 4))
            arrays.append(normal(rng, tuple(shape)))
        return arrays, kwargs

    return draw


def factors(rng: Rng) -> Call:
    """Operands of matmul: matrices, stacks that broadcast, vectors on either side."""
    m, k, n = (int(i) for i in rng.integers(1, 4, 3))
    left = pick(rng, ((m, k), (2, m, k), (1, m, k), (2, 1, m, k), (k,)))
    right = pick(rng, ((k, n), (2, k, n), (3, 1, k, n), (k,)))
    if len(left) == 4 and len(right) == 4:
        right = right[1:]
    a, b = normal(rng, left), normal(rng, right)
    return [np.asfortranarray(a) if d.chance(rng) else a, b], {}


def layer(rng: Rng) -> Call:
    """Operands of linear: examples on any number of axes, with a bias or without."""
    n_in, n_out = (int(i) for i in rng.integers(1, 4, 2))
    x = normal(rng, pick(rng, ((n_in,), (2, n_in), (3, n_in), (2, 1, n_in), (2, 3, n_in))))
    bias = [normal(rng, (n_out,))] if d.chance(rng) else []
    return [np.asfortranarray(x) if d.chance(rng) else x, normal(rng, (n_out, n_in)), *bias], {}


EINSUMS = (
    *("ij,jk->ik", "ij,jk", "ij->ji", "ij->", "ij->i", "i,i->", "i,j->ij", "ij,ij->ij", "ijk->kij"),
    *("bij,bjk->bik", "ij,j,i->", "ij,kj,kl->il", "ij, jk -> ki", "i,j->i", "ba", "ij,k->jk"),
)


def contracted(rng: Rng) -> Call:
    subscripts = pick(rng, EINSUMS)
    sizes = {c: int(rng.integers(1, 4)) for c in "abijkl"}
    terms = subscripts.replace(" ", "").partition("->")[0].split(",")
    return [normal(rng, tuple(sizes[c] for c in t)) for t in terms], {"subscripts": subscripts}


TENSORDOTS: tuple[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]], ...] = (
    ((2, 3, 4), (3, 4, 2), {}),
    ((2, 3), (2, 3), {}),
    ((2, 3), (3, 4), {"axes": 1}),
    ((2, 3), (4,), {"axes": 0}),
    ((2, 3, 4), (4, 5, 2), {"axes": ([0, 2], [2, 0])}),
    ((2, 3), (5, 3), {"axes": (1, 1)}),
    ((2, 3), (5, 3), {"axes": ((-1,), (-1,))}),
)


def paired(rng: Rng) -> Call:
    a, b, kwargs = pick(rng, TENSORDOTS)
    return [normal(rng, a), normal(rng, b)], dict(kwargs)


def as_list(op: Any, *xs: Any, **kwargs: Any) -> Any:
    return op(list(xs), **kwargs)


def subscripted(op: Any, *xs: Any, subscripts: str) -> Any:
    return op(subscripts, *xs)


def in_place(name: str) -> Any:
    """How to pass an argument by position: getitem(x, index), reshape(x, shape), ..."""
    return lambda op, x, **kwargs: op(x, *([kwargs[name]] if name in kwargs else []))


def two_axes(first: str, second: str) -> d.Draw:
    return shaped_draw(1, **{first: axis, second: axis})


def diagonal(rng: Rng, x: np.ndarray) -> Any:
    return pick(rng, (None, -1, 0, 1, 2))


def flat(x: np.ndarray, start: int = 0) -> np.ndarray:
    return x.reshape((*x.shape[:start], int(np.prod(x.shape[start:]))))


def bordered(x: np.ndarray, widths: Any, value: float = 0.0) -> np.ndarray:
    each = [widths] * x.ndim if isinstance(widths, int) else widths
    pairs = [(w, w) if isinstance(w, int) else w for w in each]
    y = np.full(
        [n + before + after for n, (before, after) in zip(x.shape, pairs, strict=True)], value
    )
    for index in np.ndindex(x.shape):
        y[tuple(i + before for i, (before, _) in zip(index, pairs, strict=True))] = x[index]
    return y


CASES: dict[str, Case] = {
    "astype": Case(
        shaped_draw(0, dtype=lambda rng, x: "float64"),
        lambda x, dtype: x.astype(dtype),
        same_shapes(dtype="float64"),
    ),
    "reshape": Case(
        shaped_draw(0, shape=new_shape),
        lambda x, shape: x.reshape(shape),
        shaped(((), {"shape": (1, 1)}), ((1,), {"shape": ()}), ((0, 2), {"shape": (2, 0)})),
        in_place("shape"),
        linear=True,
    ),
    "flatten": Case(
        shaped_draw(1, start=lambda rng, x: pick(rng, (None, *range(x.ndim)))),
        flat,
        same_shapes(),
        linear=True,
    ),
    "transpose": Case(
        shaped_draw(0, axes=order), np.transpose, same_shapes(), in_place("axes"), linear=True
    ),
    "moveaxis": Case(
        two_axes("source", "destination"),
        np.moveaxis,
        shaped(((1,), {"source": 0, "destination": -1}), ((0, 2), {"source": 0, "destination": 1})),
        linear=True,
    ),
    "swapaxes": Case(
        two_axes("first", "second"),
        lambda x, first, second: np.swapaxes(x, first, second),
        shaped(((1,), {"first": 0, "second": -1}), ((0, 2), {"first": 0, "second": 1})),
        linear=True,
    ),
    "expand_dims": Case(
        shaped_draw(0, axis=lambda rng, x: int(rng.integers(-x.ndim - 1, x.ndim + 1))),
        np.expand_dims,
        same_shapes(axis=0),
        linear=True,
    ),
    "squeeze": Case(shaped_draw(0, axis=unit_axis), np.squeeze, same_shapes(), linear=True),
    "broadcast_to": Case(
        shaped_draw(0, shape=larger),
        np.broadcast_to,
        shaped(((), {"shape": (2,)}), ((1,), {"shape": (0,)}), ((0, 1), {"shape": (2, 0, 3)})),
        in_place("shape"),
        linear=True,
    ),
    "pad": Case(
        shaped_draw(1, widths=margins, value=lambda rng, x: pick(rng, (None, None, 2.5))),
        bordered,
        shaped(((1,), {"widths": 1}), ((0,), {"widths": ((1, 0),)}), ((2, 0), {"widths": 1})),
    ),
    "flip": Case(
        shaped_draw(1, axis=lambda rng, x: d.axis_of(rng, x.ndim)),
        np.flip,
        same_shapes(),
        linear=True,
    ),
    "roll": Case(
        shaped_draw(1, shift=lambda rng, x: int(rng.integers(-4, 5)), axis=axis),
        np.roll,
        shaped(((1,), {"shift": 1, "axis": 0}), ((0, 2), {"shift": 1, "axis": 0})),
        linear=True,
    ),
    "tril": Case(
        shaped_draw(2, k=diagonal), np.tril, shaped(((1, 1), {}), ((0, 2), {})), linear=True
    ),
    "triu": Case(
        shaped_draw(2, k=diagonal), np.triu, shaped(((1, 1), {}), ((0, 2), {})), linear=True
    ),
    "concatenate": Case(
        joined(0),
        lambda *xs, axis=0: np.concatenate(xs, axis),
        given(([filled((1,)), filled((0,))], {}), ([filled((0, 2)), filled((0, 2))], {})),
        as_list,
    ),
    "stack": Case(
        joined(1),
        lambda *xs, axis=0: np.stack(xs, axis),
        given(([filled(()), filled(())], {}), ([filled((0,)), filled((0,))], {})),
        as_list,
    ),
    "getitem": Case(
        indexed,
        lambda x, index: x[index],
        shaped(((), {"index": ()}), ((1,), {"index": 0}), ((0, 2), {"index": slice(None)})),
        in_place("index"),
        linear=True,
    ),
    # Products summed.
    "matmul": Case(
        factors,
        r.matmul,
        given(
            ([filled((1,)), filled((1,))], {}),
            ([filled((0, 2)), filled((2, 3))], {}),
            ([filled((2, 0)), filled((0, 3))], {}),
        ),
    ),
    "linear": Case(
        layer,
        lambda x, w, b=0.0: r.matmul(x, w.T) + b,
        given(
            ([filled((1,)), filled((1, 1)), filled((1,))], {}),
            ([filled((0, 2)), filled((3, 2))], {}),
            ([filled((2, 0)), filled((3, 0)), filled((3,))], {}),
        ),
    ),
    "einsum": Case(
        contracted,
        r.einsum,
        given(
            ([filled(()), filled((2,))], {"subscripts": ",i->i"}),
            ([filled((0, 2)), filled((2, 1))], {"subscripts": "ij,jk->ik"}),
        ),
        subscripted,
    ),
    "tensordot": Case(paired, np.tensordot, given(([filled((1, 1)), filled((1, 1))], {"axes": 1}))),
    "outer": Case(
        lambda rng: ([normal(rng, d.shape_of(rng)), normal(rng, d.shape_of(rng))], {}),
        lambda a, b: r.matmul(a.reshape(-1, 1), b.reshape(1, -1)),
        given(([filled(()), filled((2,))], {}), ([filled((1,)), filled((1,))], {})),
    ),
}
