"""Matrix products in pieces: for the threads, and because pieces are faster where a side is small.

A BLAS first copies both matrices into an order of its own ("packing"). In a large square product
that costs little compared with the arithmetic. In a product such as (10, 6272) @ (6272, 32), each
number is copied once and multiplied only a few times. OpenBLAS, the BLAS of NumPy's wheels, packs
only products of more than a million multiplications. So a larger product with a small side is
faster in pieces that need no packing: the one above took 0.09 to 0.17 ms as a whole and 0.06 ms in
pieces, on two cores with AVX-512. OpenBLAS's kernels for AVX2 have no such limit. With them, pieces
take between 0.9 and 1.5 times as long, and a step of the article's CNN as long as before.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from .blas import one_blas_thread
from .threads import MOST, share

ALONE = 250_000  # up to so many multiplications BLAS does not wake its own threads
PIECE = 500_000  # at most so many multiplications in one piece
SMALL = 1200  # numbers in a result: for results this small OpenBLAS skips packing
NARROW = 16  # with more rows in a, it does not pay to cut a b that is stored column by column
SHARED = 8_000_000  # at least so many multiplications in a part, if there are more than two parts
HEAD = 2_500_000  # multiplications that the calling thread is ahead when a helper begins
EDGE = 16  # BLAS computes this many rows or columns together: parts begin at its multiples


def product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a @ b for a (..., m, k), b (..., k, n), in pieces where that is faster."""
    (m, k), n = a.shape[-2:], b.shape[-1]
    work = m * k * n
    if work <= ALONE:
        return np.matmul(a, b)
    multiply: Callable[..., np.ndarray] = np.matmul
    if work > 2 * PIECE and m * n <= SMALL < k:
        multiply = _added_up
    elif work > 2 * PIECE and a.ndim == b.ndim == 2:
        if m <= NARROW < k < n and b.strides[0] < b.strides[1]:
            multiply = side_by_side
        elif work > 2 * HEAD:
            return _shared(a, b)
    with one_blas_thread():
        return multiply(a, b)


def _shared(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a @ b, shared by the threads: each takes some rows of a, or else some columns of b.

    Rows of a give rows of the result, which are one piece of memory. But BLAS then packs b again
    for each part. So b is cut if it has more than twice as many columns as a has rows. A helper
    needs about 20 µs to wake up. So the first part, which the calling thread takes, is larger by
    the multiplications of that time.
    """
    m, n = len(a), b.shape[1]
    out = np.empty((m, n), a.dtype)
    by_rows = 2 * m >= n
    length = m if by_rows else n
    count = min(max(m * n * len(b) // (2 * SHARED), 1) * 2, MOST)  # even, for two threads
    head = HEAD // (m * n * len(b) // length)  # so many rows, or columns, more in the first part
    step = -(-(length - head) // (count * EDGE)) * EDGE
    first = length - (length - head - 1) // step * step
    first += -first % EDGE

    def multiply(part: slice) -> None:
        if by_rows:
            np.matmul(a[part], b, out=out[part])
        else:
            np.matmul(a, b[:, part], out=out[:, part])

    ends = [0, *range(first, length, step), length]
    share(multiply, [slice(start, stop) for start, stop in pairwise(ends)])
    return out


def side_by_side(a: np.ndarray, b: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """a @ b for a (m, k), b (..., k, n), with the axis n cut into pieces."""
    if out is None:
        out = np.empty((*b.shape[:-2], len(a), b.shape[-1]), a.dtype)
    pieces = _pieces(b.shape[-1], len(a) * b.shape[-2])
    np.matmul(a, _columns(b, pieces), out=_columns(out, pieces))
    return out


def _added_up(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a @ b with the axis k cut into pieces, whose products are added up."""
    pieces = _pieces(a.shape[-1], a.shape[-2] * b.shape[-1])
    rows = b.reshape(*b.shape[:-2], pieces, b.shape[-2] // pieces, b.shape[-1])
    return np.matmul(_columns(a, pieces), rows).sum(-3)


def _columns(matrix: np.ndarray, pieces: int) -> np.ndarray:
    """(..., m, n) as a view (..., pieces, m, n/pieces)."""
    (*others, length) = matrix.shape
    return matrix.reshape(*others, pieces, length // pieces).swapaxes(-3, -2)


def _pieces(length: int, others: int) -> int:
    """Into how many equal pieces to cut an axis; 1 where its length has no fitting divisor."""
    least = -(-length * others // PIECE)
    return next((p for p in range(least, 4 * least) if length % p == 0), 1)
