"""Convolution as products of image rows: few pixels are copied, and no padding is written.

In (H, C, W, N) memory (see `layout`) the rows of x under the kernel are one matrix of kh·C lines.
For one output row r and one column j of the kernel,

    y[r] (O, W·N)  +=  w_j (O, kh·C)  @  x[r·stride : r·stride + kh] (kh·C, W·N), shifted by j·N

is all the arithmetic. (Rows are counted from the first row of the padding.) Let W (kw·O, kh·C) be
all w_j, one below the other. The product W @ x[rows] holds the products of all kernel columns, each
of O lines. Each is then added to y, shifted: the shift is an offset in memory. At the border fewer
columns are added, and fewer lines of the kernel are used, which replaces padding.

The gradient by x is a convolution as well. An image row gets a product from each output row whose
window lies over it. These output rows are neighbours, so their lines of g are one matrix, of which
`_turned` gives the order. The gradient by w shifts g instead: G holds kw copies of one row of g,
one below the other, the j-th shifted by -j·N, and zeros where a copy does not reach. Then

    W (kw·O, kh·C)  +=  G (kw·O, W·N)  @  x[rows]ᵀ

Why it is fast: no column matrix is written. BLAS first copies both matrices into an order of its
own. With one product for all kernel columns it copies the rows of x once, not kw times. That took
0.7 to 1.05 of the time of kw products (16 channels with AVX-512, 64 with AVX2), and for the
gradient by w 0.5 to 0.8. The products fill TILE bytes at most, so they are in the cache when they
are added. Rows that are alike are one call (`Run`); `threads` says why few calls are fast.

Zeros change the result if a number is not finite, because 0·∞ is NaN. This file leaves out the
zeros of the padding, and adds the zeros of G. So three cases are left to `portable`: a convolution
with weights that are not finite; a gradient by w that comes out not finite; and a g that is not
finite, if the window stands somewhere on padding alone, because that g is in no product here.

With a column stride s above 1 the pixels under one kernel column are every s-th pixel. So x is
first sorted into s *phases*: the columns 0, s, 2s, … are one matrix, the columns 1, s + 1, … the
next. Within its phase, each column of the kernel is a shift again. Without a stride, x itself is
the only phase.
"""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple

import numpy as np

from .. import portable
from ..window import Window
from .layout import as_images, as_rows
from .threads import share, share_and_add

TILE = 2 * 1024 * 1024  # bytes of products at a time


def conv_forward(
    x: np.ndarray, w: np.ndarray, b: np.ndarray | None, window: Window, groups: int = 1
) -> np.ndarray:
    """y (N, O, OH, OW) of x (N, C, H, W) and w (O, C, kh, kw); groups is 1."""
    if not math.isfinite(w.sum()):
        return portable.conv_forward(x, w, b, window, groups)
    phases = _phases(as_rows(x), window)
    y = np.empty((window.out[0], len(w), window.out[1] * len(x)), x.dtype)
    kernels, shifts = w.transpose(3, 0, 2, 1), _shifts(window, len(x))
    used = [
        (phases[p], _matrix(kernels[columns]), [(y, *shifts[j][1:]) for j in columns])
        for p, columns in _by_phase(window).items()
    ]
    bias = 0.0 if b is None else b.reshape(-1, 1)

    def compute(part: Part) -> None:
        y[part.rows] = bias
        _convolve(part, used)

    share(compute, _parts(window, x.shape[1], _at_once(len(w), phases[0], window)))
    return as_images(y.reshape(*y.shape[:2], window.out[1], len(x)))


def conv_input_grad(g: np.ndarray, w: np.ndarray, window: Window, groups: int = 1) -> np.ndarray:
    """dx (N, C, H, W) of g (N, O, OH, OW): a convolution of g, with the kernel turned around."""
    (n_out, channels), batch = w.shape[:2], len(g)
    g_rows = as_rows(g).reshape(window.out[0] * n_out, -1)
    dx = np.empty((window.image[0], channels, window.image[1], batch), g.dtype)
    phases = [p.reshape(len(dx), channels, -1) for p in _phases(dx, window, copy=False)]
    kernels, shifts = w[:, :, _turned(window)].transpose(3, 1, 2, 0), _shifts(window, batch)
    used = [(g_rows, _matrix(kernels), [(phases[p], x, y) for p, y, x in shifts])]

    def compute(part: Part) -> None:
        for phase in phases:
            phase[part.rows] = 0
        _convolve(part, used)

    share(compute, _parts(window, n_out, _at_once(channels, g_rows, window), turned=True))
    if len(phases) > 1:
        _copy_phases(phases, dx, window, back=True)
    return as_images(dx)


def conv_weight_grad(x: np.ndarray, g: np.ndarray, window: Window, groups: int = 1) -> np.ndarray:
    """dw (O, C, kh, kw) of x (N, C, H, W) and g (N, O, OH, OW)."""
    (n_out, channels), (kh, kw) = (g.shape[1], x.shape[1]), window.size
    g_rows = as_rows(g).reshape(window.out[0], n_out, -1)
    if _has_blind_places(window) and not math.isfinite(g_rows.sum()):
        return portable.conv_weight_grad(x, g, window, groups)
    phases, shifts = _phases(as_rows(x), window), _shifts(window, len(x))

    def summed(part: Part) -> np.ndarray:
        dw = np.zeros((kw, n_out, kh * channels), x.dtype)
        for p, columns in _by_phase(window).items():
            shifted = _shifted(g_rows[part.rows], phases[p], [shifts[j] for j in columns])
            for run in part.runs:
                some = slice(run.rows.start - part.rows.start, run.rows.stop - part.rows.start)
                products = np.matmul(shifted[some], run.of(phases[p]).swapaxes(1, 2))
                dw[columns, :, run.lines] += products.sum(0).reshape(len(columns), n_out, -1)
        return dw

    parts = _parts(window, channels, _at_once(n_out, phases[0], window))
    dw = share_and_add(summed, parts)
    if not math.isfinite(dw.sum()):
        return portable.conv_weight_grad(x, g, window, groups)
    return dw.reshape(kw, -1, kh, channels).transpose(1, 3, 2, 0)


Columns = tuple[np.ndarray, slice, slice]  # a result (rows, O, …), its columns, the product's


def _convolve(part: Part, used: list[tuple[np.ndarray, np.ndarray, list[Columns]]]) -> None:
    """Add to some rows of results: products of a kernel with the rows of a source, shifted.

    used: sources (lines, …), for each the matrix (kernel columns·O, kh·C) to multiply it with, and
    for each kernel column where its O lines of the product belong.
    """
    for run in part.runs:
        for source, kernel, columns in used:
            products = np.matmul(kernel[:, run.lines], run.of(source))
            taps = products.reshape(len(products), len(columns), -1, source.shape[1])
            for j, (out, into, these) in enumerate(columns):
                out[run.rows, :, into] += taps[:, j, :, these]


def _matrix(kernels: np.ndarray) -> np.ndarray:
    """Kernel columns (kw, O, kh, C) as one matrix (kw·O, kh·C)."""
    return kernels.reshape(-1, kernels.shape[2] * kernels.shape[3])


def _shifted(g_rows: np.ndarray, phase: np.ndarray, shifts: list[Shift]) -> np.ndarray:
    """G for some rows of g (rows, O, OW·N): (rows, kernel columns·O, phase columns·N)."""
    rows, n_out, _ = g_rows.shape
    if len(shifts) == 1 and phase.shape[1] == g_rows.shape[2] == _length(shifts[0].here):
        return g_rows
    stack = np.zeros((rows, len(shifts), n_out, phase.shape[1]), phase.dtype)
    for j, (_, here, there) in enumerate(shifts):
        stack[:, j, :, there] = g_rows[..., here]
    return stack.reshape(rows, -1, phase.shape[1])


def _at_once(n_out: int, source: np.ndarray, window: Window) -> int:
    """How many rows to compute at a time, so that their products fill about TILE bytes."""
    return max(TILE // (n_out * window.size[1] * source.shape[1] * source.itemsize), 1)


def _some(rows: int) -> list[slice]:
    """The rows as slices, 8 or a few more, for passes that the threads share."""
    step = max(rows // 8, 1)
    return [slice(r, r + step) for r in range(0, rows, step)]


@lru_cache(maxsize=256)
def _has_blind_places(window: Window) -> bool:
    """Whether the window stands somewhere on padding alone."""
    across = [range(s.here.start, s.here.stop) for s in _shifts(window, 1)]
    return not all(_rows_seen(window)) or len(set().union(*across)) < window.out[1]


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
    """For each phase that the kernel sees, the columns of the kernel that see it."""
    columns: dict[int, list[int]] = {}
    for j, shift in enumerate(_shifts(window, 1)):
        if _length(shift.here):
            columns.setdefault(shift.phase, []).append(j)
    return columns


def _length(part: slice) -> int:
    return int(part.stop - part.start)


# Rows of the image and rows of the output


class Run(NamedTuple):
    """Rows of a result that are alike: each sums over the same lines of the kernel.

    They lie equally far apart, and so do the rows of the source that they sum over.
    """

    rows: slice
    lines: slice  # of the kernel
    first: int  # the first line of the source that the first row needs
    step: int  # so many lines of the source further for the next row

    def of(self, source: np.ndarray) -> np.ndarray:
        """The lines (rows, lines, …) of a source (lines, …) that each row needs, as a view."""
        count = len(range(self.rows.start, self.rows.stop, self.rows.step))
        down, across = source.strides
        shape = (count, self.lines.stop - self.lines.start, source.shape[1])
        # NumPy checks that the strides stay within the buffer; its as_strided would not.
        return np.ndarray(
            shape, source.dtype, source, self.first * down, (self.step * down, down, across)
        )


class Part(NamedTuple):
    """Some rows of a result, which one thread computes."""

    rows: slice
    runs: list[Run]


def _rows_seen(window: Window) -> list[list[tuple[int, int]]]:
    """For each output row, the rows of the kernel that meet the image, and the image's rows."""
    (height, _), (kh, _), top = window.image, window.size, window.pads[0]
    stride, dilation = window.stride[0], window.dilation[0]
    return [
        [(i, row) for i in range(kh) if 0 <= (row := r * stride - top + i * dilation) < height]
        for r in range(window.out[0])
    ]


def _turned(window: Window) -> list[int]:
    """The order of the kernel's rows in which an image row meets output rows that are neighbours.

    Where the window moves by s rows, an image row meets each s-th row of the kernel. The last of
    these lies in the uppermost window.
    """
    return sorted(range(window.size[0]), key=lambda i: (i % window.stride[0], -i))


@lru_cache(maxsize=256)
def _parts(window: Window, channels: int, most: int, turned: bool = False) -> list[Part]:
    """The rows of y, or with `turned` those of dx, in parts of at most `most`.

    channels: lines in one row of the source, which is x, or with `turned` g.
    """
    seen = _rows_seen(window)
    if turned:
        places = {i: place for place, i in enumerate(_turned(window))}
        met: list[list[tuple[int, int]]] = [[] for _ in range(window.image[0])]
        for r, pairs in enumerate(seen):
            for i, row in pairs:
                met[row].append((places[i], r))
        seen = [sorted(pairs) for pairs in met]
    count = -(-len(seen) // most)
    step = -(-len(seen) // (count + count % 2 if count > 1 else 1))  # even, for two threads
    return [
        Part(slice(r, r + step), _runs(seen, range(r, min(r + step, len(seen))), channels))
        for r in range(0, len(seen), step)
    ]


def _runs(seen: list[list[tuple[int, int]]], rows: range, channels: int) -> list[Run]:
    """The runs of some rows. Kernel rows that meet neighbours in the source are one matrix."""
    alike: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for r in rows:
        neighbours = groupby(enumerate(seen[r]), lambda at: (at[1][0] - at[0], at[1][1] - at[0]))
        for _, group in neighbours:
            pairs = [pair for _, pair in group]
            alike.setdefault((pairs[0][0], len(pairs)), []).append((r, pairs[0][1]))
    runs = []
    for (line, length), places in alike.items():
        (r, first), (after, second) = places[0], places[min(1, len(places) - 1)]
        found = slice(r, places[-1][0] + 1, max(after - r, 1))
        lines = slice(line * channels, (line + length) * channels)
        runs.append(Run(found, lines, first * channels, (second - first) * channels))
    return runs
