"""Matrix products with a small side, cut into pieces of half a million multiplications.

A BLAS copies what it multiplies into an order of its own first, and deals the work out to all
cores. Of a large square product that is a small part. In a thin one, such as (10, 6272) @
(6272, 32), each number is copied once and multiplied a few times only, and what two cores have
computed must travel back to the one that goes on with it. OpenBLAS, which NumPy's wheels carry,
does neither up to a million multiplications. So a thin product is faster in pieces: on two cores
with AVX-512 that one took 0.09 to 0.17 ms whole and 0.06 in pieces. OpenBLAS's kernels for AVX2
know no such limit: with them pieces take from a tenth less to half more, and a step of the
article's CNN as long as without.
"""

from __future__ import annotations

import numpy as np

PIECE = 500_000  # multiplications in one piece
SMALL = 1200  # numbers in the result of a long sum, up to which OpenBLAS leaves the copies out
NARROW = 16  # rows of a up to which it is worth cutting b, where b lies column by column


def product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a @ b for a (..., m, k), b (..., k, n), in pieces where that is faster."""
    (m, k), n = a.shape[-2:], b.shape[-1]
    if m * k * n > 2 * PIECE and a.dtype == b.dtype and a.dtype.char in "fd":
        if m * n <= SMALL < k:
            return _added_up(a, b)
        if a.ndim == b.ndim == 2 and m <= NARROW < k < n and b.strides[0] < b.strides[1]:
            return side_by_side(a, b, np.empty((m, n), a.dtype))
    return np.matmul(a, b)


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
