"""Convolution as products of image rows: few pixels are copied, and no padding is written.

In (H, C, W, N) memory (see `layout`) the rows of x under the kernel are one matrix of kh·C lines.
For one output row r and one column j of the kernel,

    y[r] (O, W·N)  +=  w_j (O, kh·C)  @  x[r·stride : r·stride + kh] (kh·C, W·N), shifted by j·N

is all the arithmetic. (Rows are counted from the first row of the padding.) The shift is an offset
in memory, and BLAS adds the product to y. At the border the shifted view is shorter and fewer lines
of the kernel are used, which replaces padding. The product is linear in w and in x, so both
gradients are products of such matrices too. They shift g instead of x: G holds kw copies of one row
of g, one below the other, the j-th shifted by -j·N. Then

    x[rows]  +=  Wᵀ @ G              W  +=  G @ x[rows]ᵀ              W (kw·O, kh·C): all the w_j

Why it is fast: each product sums over many terms (kh·C, kw·O, or W·N for the gradient by w), its
output row stays in the cache while the next product is added to it, and no column matrix is
written. Building G copies g, but turns kw products into one, so that BLAS reads the rows of x only
once. With G the gradient by w takes 0.5 to 0.8 of the time that kw products take, because its sums
are long and its result is small. G holds zeros where a shifted copy does not reach.

Zeros change the result if a number is not finite, because 0·∞ is NaN. This file leaves out the
zeros of the padding, and adds the zeros of G. So three cases are left to `portable`: weights that
are not finite; a g that is not finite, if there is padding; and a gradient by w that comes out not
finite.

With a column stride s above 1 the pixels under one kernel column are every s-th pixel. So x is
first sorted into s *phases*: the columns 0, s, 2s, … are one matrix, the columns 1, s + 1, … the
next. Within its phase, each column of the kernel is a shift again. Without a stride, x itself is
the only phase.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from .. import portable
from ..window import Window
from .blas import add_product
from .layout import as_images, as_rows
from .threads import share, share_and_add


def conv_forward(
    x: np.ndarray, w: np.ndarray, b: np.ndarray | None, window: Window, groups: int = 1
) -> np.ndarray:
    """y (N, O, OH, OW) of x (N, C, H, W) and w (O, C, kh, kw); groups is 1."""
    if not math.isfinite(w.sum()):
        return portable.conv_forward(x, w, b, window, groups)
    channels, batch, kernel = x.shape[1], len(x), _kernel(w)
    phases = _phases(as_rows(x), window)
    y = np.empty((window.out[0], w.shape[0], window.out[1] * batch), x.dtype)
    bias = 0.0 if b is None else b.reshape(-1, 1)
    shifts, rows_under = _shifts(window, batch), _rows_under(window, channels)

    def compute(r: int) -> None:
        y[r] = bias
        for lines, rows in rows_under[r]:
            for j, (phase, here, there) in enumerate(shifts):
                add_product(y[r][:, here], kernel[j][:, lines], phases[phase][rows, there])

    share(compute, range(len(y)))
    return as_images(y.reshape(*y.shape[:2], window.out[1], batch))


def conv_input_grad(g: np.ndarray, w: np.ndarray, window: Window, groups: int = 1) -> np.ndarray:
    """dx (N, C, H, W) of g (N, O, OH, OW)."""
    if not math.isfinite(w.sum()):
        return portable.conv_input_grad(g, w, window, groups)
    (n_out, channels), batch, kernel = w.shape[:2], len(g), _kernel(w)
    g_rows = as_rows(g).reshape(window.out[0], n_out, -1)
    shape = (window.image[0], channels, window.image[1], batch)
    dx = np.empty(shape, g.dtype)
    phases = _phases(dx, window, copy=False)
    rows_under = _rows_under(window, channels)
    used = _by_phase(window)
    kernels = {p: kernel[columns].reshape(-1, kernel.shape[2]) for p, columns in used.items()}

    def clear(rows: slice) -> None:
        for phase in phases:
            phase.reshape(shape[0], channels, -1)[rows] = 0

    def add(band: range) -> None:
        stacks = _stacks(phases, window, n_out, batch)
        for r in band:
            for p, stack in stacks.items():
                shifted = stack(g_rows[r])
                for lines, rows in rows_under[r]:
                    add_product(phases[p][rows], kernels[p][:, lines].T, shifted)

    share(clear, _some(shape[0]))
    for together in window.bands:
        share(add, together)
    if len(phases) > 1:
        _copy_phases(phases, dx, window, back=True)
    return as_images(dx)


def conv_weight_grad(x: np.ndarray, g: np.ndarray, window: Window, groups: int = 1) -> np.ndarray:
    """dw (O, C, kh, kw) of x (N, C, H, W) and g (N, O, OH, OW)."""
    (n_out, channels), batch, (kh, kw) = (g.shape[1], x.shape[1]), len(x), window.size
    g_rows = as_rows(g).reshape(window.out[0], n_out, -1)
    if any(window.pads) and not _is_finite(g_rows):
        return portable.conv_weight_grad(x, g, window, groups)
    phases = _phases(as_rows(x), window)
    rows_under, used = _rows_under(window, channels), _by_phase(window)

    def summed(band: range) -> np.ndarray:
        dw = np.zeros((kw, n_out, kh * channels), x.dtype)
        stacks = _stacks(phases, window, n_out, batch)
        for p, stack in stacks.items():
            matrix = np.zeros((len(used[p]) * n_out, kh * channels), x.dtype)
            for r in band:
                shifted = stack(g_rows[r])
                for lines, rows in rows_under[r]:
                    add_product(matrix[:, lines], shifted, phases[p][rows].T)
            dw[used[p]] = matrix.reshape(-1, n_out, kh * channels)
        return dw

    dw = share_and_add(summed, window.bands[0] + window.bands[1])
    if not math.isfinite(dw.sum()):
        return portable.conv_weight_grad(x, g, window, groups)
    return dw.reshape(kw, -1, kh, channels).transpose(1, 3, 2, 0)


def _kernel(w: np.ndarray) -> np.ndarray:
    """w (O, C, kh, kw) as kw matrices (O, kh·C), one for each column of the kernel."""
    return np.ascontiguousarray(w.transpose(3, 0, 2, 1)).reshape(w.shape[3], w.shape[0], -1)


def _some(rows: int) -> list[slice]:
    """The rows as slices, 8 or a few more, for passes that the threads share."""
    step = max(rows // 8, 1)
    return [slice(r, r + step) for r in range(0, rows, step)]


def _is_finite(rows: np.ndarray) -> bool:
    """Whether every number is finite; False too if their sum overflows."""
    return math.isfinite(share_and_add(lambda some: rows[some].sum(), _some(len(rows))))


# Phases: x sorted by column


def _phases(rows: np.ndarray, window: Window, copy: bool = True) -> list[np.ndarray]:
    """Images (H, C, W, N) as matrices (H·C, columns·N), one for each phase.

    Without a column stride the matrix is a view. Otherwise it is new, and filled if `copy` is True.
    """
    (height, channels, width, batch), stride = rows.shape, window.stride[1]
    if stride == 1:
        return [rows.reshape(height * channels, -1)]
    phases = [
        np.empty((height * channels, len(range(p, width, stride)) * batch), rows.dtype)
        for p in range(stride)
    ]
    if copy:
        _copy_phases(phases, rows, window)
    return phases


def _copy_phases(
    phases: list[np.ndarray], rows: np.ndarray, window: Window, back: bool = False
) -> None:
    """Copy the columns of images (H, C, W, N) to the matrices of their phases, or back."""
    height, channels, _, batch = rows.shape
    parts = [phase.reshape(height, channels, -1, batch) for phase in phases]

    def copy(some: slice) -> None:
        for p, part in enumerate(parts):
            pair = rows[some, :, p :: window.stride[1]], part[some]
            np.copyto(*(pair if back else pair[::-1]))

    share(copy, _some(height))


class Shift(NamedTuple):
    """Where one column of the kernel meets the image: its phase, columns of y, columns of x."""

    phase: int
    here: slice
    there: slice


@lru_cache(maxsize=256)
def _shifts(window: Window, batch: int) -> list[Shift]:
    """The shift of each column of the kernel, in columns (OW·N) of y and (…·N) of its phase."""
    shifts, stride = [], window.stride[1]
    for j in range(window.size[1]):
        shift, phase = divmod(j * window.dilation[1] - window.pads[2], stride)
        width = len(range(phase, window.image[1], stride))
        start = max(-shift, 0)  # output columns whose pixel lies on the image
        stop = max(min(width - shift, window.out[1]), start)
        there = slice((start + shift) * batch, (stop + shift) * batch)
        shifts.append(Shift(phase, slice(start * batch, stop * batch), there))
    return shifts


def _by_phase(window: Window) -> dict[int, list[int]]:
    """For each phase that the kernel sees, the columns of the kernel that lie in it."""
    columns: dict[int, list[int]] = {}
    for j, shift in enumerate(_shifts(window, 1)):
        columns.setdefault(shift.phase, []).append(j)
    return columns


Stack = Callable[[np.ndarray], np.ndarray]


def _stacks(phases: list[np.ndarray], window: Window, n_out: int, batch: int) -> dict[int, Stack]:
    """For each phase that the kernel sees, a function that turns one row of g (O, OW·N) into G.

    G is (kernel columns·O, phase columns·N). Use it before the next call overwrites it.
    """

    def stacking(phase: np.ndarray, shifts: list[Shift]) -> Stack:
        if len(shifts) == 1 and phase.shape[1] == window.out[1] * batch == _length(shifts[0].here):
            return lambda g_row: g_row
        stack = np.zeros((len(shifts), n_out, phase.shape[1]), phase.dtype)

        def fill(g_row: np.ndarray) -> np.ndarray:
            for copy, (_, here, there) in zip(stack, shifts, strict=True):
                copy[:, there] = g_row[:, here]
            return stack.reshape(len(stack) * n_out, stack.shape[2])

        return fill

    shifts = _shifts(window, batch)
    used = _by_phase(window)
    return {p: stacking(phases[p], [shifts[j] for j in columns]) for p, columns in used.items()}


def _length(part: slice) -> int:
    return int(part.stop - part.start)


@lru_cache(maxsize=256)
def _rows_under(window: Window, channels: int) -> list[list[tuple[slice, slice]]]:
    """For each output row: pairs of kernel lines (of kh·C), and the lines of x (H·C, …) under them.

    The rows under a dilated kernel are not neighbours in x. So each of them is a pair of its own.
    """
    (height, _), kh, dilation = window.image, window.size[0], window.dilation[0]
    under: list[list[tuple[slice, slice]]] = []
    for r in range(window.out[0]):
        top = r * window.stride[0] - window.pads[0]  # the image row under the kernel's first
        inside = [i for i in range(kh) if 0 <= top + i * dilation < height]
        runs = [(inside[0], len(inside))] if inside and dilation == 1 else [(i, 1) for i in inside]
        pairs = []
        for first, count in runs:
            row = top + first * dilation
            lines = slice(first * channels, (first + count) * channels)
            pairs.append((lines, slice(row * channels, (row + count) * channels)))
        under.append(pairs)
    return under
