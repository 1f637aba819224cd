"""Dropout's mask, by a generator whose numbers can be computed one by one: Philox4x64-10.

Most generators have a state, which each number changes for the next. Philox has none: a number is
computed from a key and from the number's position. So a seed gives the same mask on every device,
with any number of threads, and for each part of a batch by itself. On a GPU each thread computes
its own numbers (`gpu/philox.cu`).
Source: Salmon, Moraes, Dror, Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3".
"""

from __future__ import annotations

import numpy as np

from .cpu.threads import share

BLOCK = 8  # numbers of 32 bits that Philox computes together
PART = 1 << 16  # numbers that a thread draws at a time; a multiple of BLOCK


def dropout_mask(key: np.ndarray, shape: tuple[int, ...], dtype: np.dtype, p: float) -> np.ndarray:
    """1/(1 - p) where a random number is not below p, else 0, for each number of an array.

    key: the three numbers of `rng.key`: Philox's key, and the position of the first number.
    """
    mask = np.empty(shape, dtype)
    flat, first, scale = mask.reshape(-1), int(key[2]), mask.dtype.type(1 / (1 - p))

    def draw(start: int) -> None:
        part = flat[start : start + PART]
        block, before = divmod(first + start, BLOCK)
        stream = np.random.Generator(np.random.Philox(key=key[:2], counter=block))
        drawn = stream.random(before + part.size, dtype=np.float32)[before:]
        np.multiply(drawn >= p, scale, out=part)

    share(draw, range(0, flat.size, PART))
    return mask
