"""Operations that sum products: matrix products and their generalisations.

All raise ShapeError where shapes do not fit, and DeviceError for tensors on two devices.
"""

import math
from typing import Any

import numpy as np

from .. import kernels
from ..checks import all_follow, operands, paired_subscripts, same_device, subscripts_of
from ..errors import ShapeError
from ..kernels.cpu.blas import one_blas_thread
from ..kernels.linear import linear as linear_of
from ..kernels.masks import keep_positive
from ..kernels.ordered import product_in_order_of
from ..tensor import ArrayLike, Tensor, as_tensor, record
from .elementwise import through_relu
from .reduce import sum
from .shape import broadcast_to, flatten, getitem, reshape, swapaxes, transpose


def matmul(a: ArrayLike, b: ArrayLike) -> Tensor:
    """y = a @ b over the last two axes; dL/da = g @ bᵀ, dL/db = aᵀ @ g.

    Shapes: (..., m, k) @ (..., k, n) -> (..., m, n); leading axes broadcast. A vector counts as a
    row on the left and as a column on the right. The axis that it lacks is missing in y too.
    """
    a, b = as_tensor(a), as_tensor(b)
    same_device("matmul", a, b)
    a, b = all_follow(a, b)
    if a.ndim == 0 or b.ndim == 0 or a.shape[-1] != b.shape[max(b.ndim - 2, 0)]:
        raise ShapeError(
            f"matmul: expected (..., m, k) @ (..., k, n) with equal k, got {a.shape} @ {b.shape}"
        )
    if a.ndim == 1:
        y = matmul(reshape(a, 1, -1), b)
        return reshape(y, y.shape[:-2] + y.shape[-1:] if b.ndim > 1 else ())
    if b.ndim == 1:
        y = matmul(a, reshape(b, -1, 1))
        return reshape(y, y.shape[:-1])

    try:
        value = kernels.product(a.data, b.data)
    except ValueError:
        raise ShapeError(
            f"matmul: the leading axes of {a.shape} and {b.shape} do not broadcast"
        ) from None

    def fast(g: Tensor, y: Tensor, needed: tuple[bool, ...]) -> list[Tensor | None]:
        a_t, b_t = a.data.swapaxes(-1, -2), b.data.swapaxes(-1, -2)
        return [
            Tensor(product_in_order_of(a.data, g.data, b_t)) if needed[0] else None,
            Tensor(product_in_order_of(b.data, a_t, g.data)) if needed[1] else None,
        ]

    return record(
        value,
        (a, lambda g, y: matmul(g, swapaxes(b, -1, -2))),
        (b, lambda g, y: matmul(swapaxes(a, -1, -2), g)),
        name="matmul",
        fast=fast,
    )


def linear(
    x: ArrayLike, w: ArrayLike, b: ArrayLike | None = None, *, rectify: bool = False
) -> Tensor:
    """y = x @ wᵀ + b, a dense layer; dL/dx = g @ w, dL/dw = gᵀ @ x, dL/db = Σ g.

    Shapes: x (..., in), w (out, in), b (out,) -> (..., out).
    rectify: y is relu of the above; g counts only where y > 0.
    """
    x, w, *bias = (as_tensor(t) for t in (x, w, b) if t is not None)
    same_device("linear", x, w, *bias)
    fits = x.ndim > 0 and w.ndim == 2 and w.shape[1] == x.shape[-1]
    if not fits or any(b.shape != w.shape[:1] for b in bias):
        raise ShapeError(
            "linear: expected x (..., in), w (out, in), b (out,), got "
            f"{', '.join(str(t.shape) for t in (x, w, *bias))}"
        )
    if x.ndim != 2:
        rows = reshape(x, math.prod(x.shape[:-1]), x.shape[-1])
        return reshape(linear(rows, w, b, rectify=rectify), *x.shape[:-1], len(w))
    x, w, *bias = all_follow(x, w, *bias)

    def fast(g: Tensor, y: Tensor, needed: tuple[bool, ...]) -> list[Tensor | None]:
        g = Tensor(keep_positive(g.data, y.data)) if rectify else g
        return [
            Tensor(product_in_order_of(x.data, g.data, w.data)) if needed[0] else None,
            Tensor(kernels.product(g.data.T, x.data)) if needed[1] else None,
            *(sum(g, 0) if wanted else None for wanted in needed[2:]),
        ]

    return record(
        linear_of(x.data, w.data, bias[0].data if bias else None, rectify),
        (x, lambda g, y: matmul(through_relu(g, y, rectify), w)),
        (w, lambda g, y: matmul(transpose(through_relu(g, y, rectify)), x)),
        *((b, lambda g, y: sum(through_relu(g, y, rectify), 0)) for b in bias),
        name="linear" + rectify * " + relu",
        fast=fast,
    )


def einsum(subscripts: str, *tensors: ArrayLike) -> Tensor:
    """Einstein summation: the product of the operands, summed over every letter not in the output.

    subscripts: a letter for each axis, such as "ij,jk->ik" for a matrix product. A letter that
    occurs twice in one operand means its diagonal. "..." stands for axes without a letter, which
    broadcast.
    Gradient: dL/dx of an operand x is the einsum of g and the other operands, with x's letters as
    its output. A letter of x alone was summed over, so the gradient is the same all along its axis.
    """
    return _einsum("einsum", subscripts, *tensors)


def _einsum(call: str, subscripts: str, *tensors: ArrayLike) -> Tensor:
    """`einsum`, recorded and named in errors as the operation `call`."""
    xs = all_follow(*map(as_tensor, tensors))
    names, out, sizes = subscripts_of(call, subscripts, [x.shape for x in xs])
    same_device(call, *xs)
    xs = [_diagonal(x, name, sizes) for x, name in zip(xs, names, strict=True)]
    names = ["".join(dict.fromkeys(name)) for name in names]

    def pullback(i: int) -> Any:
        others = [k for k in range(len(xs)) if k != i]
        known = set(out).union(*(names[k] for k in others))
        kept = "".join(c for c in names[i] if c in known)
        inputs = ",".join([out, *(names[k] for k in others)])
        with_ones = tuple(n if c in kept else 1 for c, n in zip(names[i], xs[i].shape, strict=True))

        def pull(g: Tensor, y: Tensor) -> Tensor:
            found = einsum(f"{inputs}->{kept}", g, *(xs[k] for k in others))
            return broadcast_to(reshape(found, with_ones), xs[i].shape)

        return pull

    compute = one_blas_thread()(xs[0]._module.einsum)  # einsum calls BLAS for its products
    value = compute(f"{','.join(names)}->{out}", *(x.data for x in xs), optimize=True)
    return record(value, *((x, pullback(i)) for i, x in enumerate(xs)), name=call)


def _diagonal(x: Tensor, name: str, sizes: dict[str, int]) -> Tensor:
    """x with one axis for each letter, broadcast to the letters' lengths; "ii" is a diagonal."""
    letters = "".join(dict.fromkeys(name))
    if len(letters) < len(name):
        shapes = {c: [-1 if c == other else 1 for other in letters] for c in letters}
        places = (np.arange(n).reshape(shapes[c]) for c, n in zip(name, x.shape, strict=True))
        x = getitem(x, tuple(places))
    shape = tuple(sizes[c] for c in letters)
    return x if x.shape == shape else broadcast_to(x, shape)


def tensordot(a: ArrayLike, b: ArrayLike, axes: Any = 2) -> Tensor:
    """The product of a and b, summed over pairs of axes: an einsum whose pairs share a letter.

    axes: a number n, which pairs the last n axes of a with the first n of b; or two lists of axes.
    Shapes: the other axes of a, then those of b. Gradient: that of `einsum`.
    """
    a, b = as_tensor(a), as_tensor(b)
    return _einsum("tensordot", paired_subscripts("tensordot", a, b, axes), a, b)


def outer(a: ArrayLike, b: ArrayLike) -> Tensor:
    """yᵢⱼ = aᵢ·bⱼ of two flattened tensors; dL/da = g @ b, dL/db = gᵀ @ a.

    Shapes: (..., ) of m elements, (..., ) of n elements -> (m, n).
    """
    a, b, _ = operands("outer", a, b, broadcast=False)
    return record(
        a.data.reshape(-1, 1) * b.data.reshape(1, -1),
        (a, lambda g, y: reshape(matmul(g, flatten(b)), a.shape)),
        (b, lambda g, y: reshape(matmul(flatten(a), g), b.shape)),
        name="outer",
    )
