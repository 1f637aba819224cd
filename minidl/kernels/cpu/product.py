"""Matrix products in pieces: for the threads, and because pieces are faster where a side is small.

A BLAS first copies what it multiplies into an order of its own ("packing"). In a large square
product that costs little beside the arithmetic. In a product such as (10, 6272) @ (6272, 32), each
number is copied once and multiplied only a few times. OpenBLAS, which NumPy's wheels carry, does
not pack up to a million multiplications. So such a product is faster in pieces: on two cores with
AVX-512 that one took 0.09 to 0.17 ms whole and 0.06 ms in pieces. OpenBLAS's kernels for AVX2 have
no such limit: with them pieces take between 0.9 and 1.5 times as long, and a step of the article's
CNN the same.
"""

from __future__ import annotations

import numpy as np

from .blas import one_blas_thread
from .threads import MOST, share

ALONE = 250_000  # multiplications for which no BLAS wakes its threads
PIECE = 500_000  # multiplications in one piece
SMALL = 1200  # numbers in a result; for results this small OpenBLAS skips packing
NARROW = 16  # rows of a; with more of them cutting b, stored column by column, does not pay
SHARED = 8_000_000  # multiplications in a part, where there are more than two parts
EDGE = 16  # a part begins at a multiple of so many rows or columns, as BLAS computes them


def product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a @ b for a (..., m, k), b (..., k, n), in pieces where that is faster."""
    (m, k), n = a.shape[-2:], b.shape[-1]
    work = m * k * n
    if work <= ALONE:
        return np.matmul(a, b)
    with one_blas_thread():
        if work > 2 * PIECE:
            if m * n <= SMALL < k:
                return _added_up(a, b)
            if a.ndim == b.ndim == 2:
                if m <= NARROW < k < n and b.strides[0] < b.strides[1]:
                    return side_by_side(a, b, np.empty((m, n), a.dtype))
                return _shared(a, b)
        return np.matmul(a, b)


def _shared(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a @ b, each thread some rows of a, or some columns of b where those are more than twice.

    Rows of the result are one piece of memory; but BLAS packs b for each part.
    """
    m, n = len(a), b.shape[1]
    out = np.empty((m, n), a.dtype)
    by_rows = 2 * m >= n
    length = m if by_rows else n
    count = min(max(m * n * len(b) // (2 * SHARED), 1) * 2, MOST)  # even: for two threads alike
    step = -(-length // (count * EDGE)) * EDGE

    def multiply(start: int) -> None:
        part = slice(start, start + step)
        if by_rows:
            np.matmul(a[part], b, out=out[part])
        else:
            np.matmul(a, b[:, part], out=out[:, part])

    share(multiply, range(0, length, step))
    return out


def side_by_side(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> np.ndarray:
    """a @ b for a (m, k), b (..., k, n), in pieces of n."""
    pieces = _pieces(b.shape[-1], len(a) * b.shape[-2])
    np.matmul(a, _columns(b, pieces), out=_columns(out, pieces))
    return out


def _added_up(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a @ b in pieces of k."""
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
