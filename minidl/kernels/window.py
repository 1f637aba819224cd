"""The geometry of a sliding window, which convolution and pooling share.

Three words are used throughout. A *place* (r, c) is where the window stands: one pixel of the
output. A *tap* (i, j) is one position inside the window: one weight of a kernel. At each place,
each tap lies over one pixel of the padded image.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from ..errors import ShapeError

Pair = tuple[int, int]

NO_TAP = 255  # the one-byte index of max-pooling where no pixel of the window gets a gradient
BANDS = 16  # the largest number of bands that output rows are cut into


@dataclass(frozen=True)
class Window:
    """A kh×kw window sliding over an H×W image.

    image: (H, W), without padding. size: (kh, kw).
    From its first to its last tap the window covers `reach = dilation·(size − 1) + 1` pixels along
    each axis. So it stands at `out = ⌊(image + pads − reach) / stride⌋ + 1` places.
    """

    image: Pair
    size: Pair
    stride: Pair = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)  # top, bottom, left, right
    dilation: Pair = (1, 1)
    grown: Pair = (0, 0)  # of the pads, the rows and columns that `ceil_mode` added

    @cached_property
    def padded(self) -> Pair:
        """Height and width of the image with its padding."""
        (height, width), (top, bottom, left, right) = self.image, self.pads
        return height + top + bottom, width + left + right

    @cached_property
    def reach(self) -> Pair:
        """Rows and columns from the window's first tap to its last, both counted."""
        (kh, kw), (dh, dw) = self.size, self.dilation
        return dh * (kh - 1) + 1, dw * (kw - 1) + 1

    @cached_property
    def out(self) -> Pair:
        """How many places the window takes, down and across."""
        (height, width), (rh, rw), (sh, sw) = self.padded, self.reach, self.stride
        return (height - rh) // sh + 1, (width - rw) // sw + 1

    @cached_property
    def inside(self) -> tuple[slice, slice]:
        """Where the image lies in the padded image."""
        (height, width), (top, _, left, _) = self.image, self.pads
        return slice(top, top + height), slice(left, left + width)

    @cached_property
    def tiles(self) -> bool:
        """Whether each pixel of the image lies under exactly one place: no overlap, no gap."""
        (oh, ow), (kh, kw) = self.out, self.size  # a dilated window would have fewer places
        return self.stride == self.size and self.image == self.padded == (oh * kh, ow * kw)

    @cached_property
    def bands(self) -> tuple[list[range], list[range]]:
        """The output rows, cut into bands: the first, third, ... band, and the second, fourth, ...

        Windows of two neighbouring bands may lie over the same image rows. Windows of two bands in
        one list never do. So threads may add to the image for all bands of one list at once.
        """
        reach = (self.size[0] - 1) * self.dilation[0] + 1
        rows = max(-(-self.out[0] // BANDS), -(-reach // self.stride[0]) - 1, 1)
        bands = [range(r, min(r + rows, self.out[0])) for r in range(0, self.out[0], rows)]
        return bands[::2], bands[1::2]

    @cached_property
    def first_taps(self) -> np.ndarray:
        """For each place (OH, OW), i·kw + j of the first tap that lies on the image (0 if none)."""
        skips, hits = [], []
        for axis, before in ((0, self.pads[0]), (1, self.pads[2])):
            step = self.dilation[axis]
            pixel = np.arange(self.out[axis]) * self.stride[axis] - before  # under the first tap
            skip = -(np.minimum(pixel, 0) // step)  # taps in front of the image
            skips.append(skip)
            hits.append((skip < self.size[axis]) & (pixel + skip * step < self.image[axis]))
        return np.where(
            np.logical_and.outer(*hits), np.add.outer(skips[0] * self.size[1], skips[1]), 0
        )

    def share(self, padding_counts: bool) -> np.ndarray | None:
        """(OH, OW): the share of each window's taps that count; None if all taps of all count.

        Taps on the image count, those on rows and columns of `grown` do not. padding_counts says it
        for the other padding.
        """
        if not any(self.grown) and (padding_counts or not any(self.pads)):
            return None
        shares = []
        for axis in range(2):
            before, after = self.pads[2 * axis : 2 * axis + 2]
            ends = (before, before + self.image[axis])
            if padding_counts:
                ends = (0, ends[1] + after - self.grown[axis])
            at = np.arange(self.out[axis])[:, None] * self.stride[axis] + np.arange(self.size[axis])
            shares.append(((at >= ends[0]) & (at < ends[1])).mean(1))
        return np.outer(*shares)

    def taps(self, places: slice | None = None) -> Iterator[tuple[int, int, slice, slice]]:
        """Each tap (i, j), and the rows and columns of the padded image it lies over.

        places: a slice of output rows, where not all of them are meant.
        """
        first, stop = (places.start, places.stop) if places else (0, self.out[0])
        (sh, sw), (dh, dw) = self.stride, self.dilation
        height, width = sh * (stop - first - 1) + 1, sw * (self.out[1] - 1) + 1
        for i in range(self.size[0]):
            for j in range(self.size[1]):
                top, left = first * sh + i * dh, j * dw
                yield i, j, slice(top, top + height, sh), slice(left, left + width, sw)


def window(
    call: str,
    image: tuple[int, ...],
    size: int | tuple[int, ...],
    stride: int | tuple[int, ...] = 1,
    padding: int | tuple[int, ...] | str = 0,
    dilation: int | tuple[int, ...] = 1,
) -> Window:
    """The `Window` for the arguments of `call` ("conv2d", "max_pool2d", ...).

    padding: an int or a pair (rows, columns) of zeros on both sides, "valid" (none), or "same".
    "same" makes `out = ⌈image / stride⌉`. If it needs an odd number of zeros, the last one goes to
    the bottom or the right, as in TensorFlow.
    Raises: ShapeError if an argument is not a positive whole number (padding may be 0), or if the
    window is larger than the padded image.
    """
    if not isinstance(padding, str):
        padding = pair(call, "padding", padding, least=0)
    elif padding not in ("same", "valid"):
        raise ShapeError(
            f'{call}: expected padding to be an int, a pair of ints, "same" or "valid", '
            f"got {padding!r}"
        )
    return _window(
        call,
        pair(call, "image", image, least=0),
        pair(call, "size", size, least=1),
        pair(call, "stride", stride, least=1),
        padding,
        pair(call, "dilation", dilation, least=1),
    )


def pooling(
    call: str, image: Any, size: Any, stride: Any, padding: Any, ceil_mode: bool = False
) -> Window:
    """The `Window` of a pooling; stride is size by default.

    ceil_mode: padding is added at the bottom and right until one more window fits. That window
    must begin in the image, or in the padding before it.
    Raises: ShapeError where a window could lie in the padding alone.
    """
    found = window(call, image, size, size if stride is None else stride, padding)
    top, bottom, left, right = found.pads  # bottom and right are never less than top and left
    if bottom >= found.size[0] or right >= found.size[1]:
        raise ShapeError(
            f"{call}: expected padding smaller than the window, got padding {padding!r} for size "
            f"{found.size}: a window could lie in the padding alone"
        )
    if not ceil_mode:
        return found
    more = []
    along = zip(found.image, found.padded, found.size, found.stride, (top, left), strict=True)
    for inside, whole, k, s, before in along:
        last = -(-(whole - k) // s) * s  # where the last window begins
        last -= s * (last >= inside + before)
        more.append(max(last + k - whole, 0))
    pads = (top, bottom + more[0], left, right + more[1])
    return replace(found, pads=pads, grown=(more[0], more[1]))


def transposed_window(
    call: str,
    small: tuple[int, ...],
    size: tuple[int, ...],
    stride: int | tuple[int, ...],
    padding: Any,
    output_padding: int | tuple[int, ...],
    dilation: int | tuple[int, ...],
) -> Window:
    """The `Window` of the convolution whose transpose is taken.

    small: the height and width of the transposed convolution's input. It is that convolution's
    output. The window's `image` is the transposed convolution's output.
    Raises: ShapeError where output_padding is not below the stride, or the output would be empty.
    """
    strides = pair(call, "stride", stride, least=1)
    dilations = pair(call, "dilation", dilation, least=1)
    extra = pair(call, "output_padding", output_padding, least=0)
    if any(e >= s for e, s in zip(extra, strides, strict=True)):
        raise ShapeError(
            f"{call}: expected output_padding below the stride {strides}, got {output_padding}"
        )
    if padding == "same":
        if any(extra):
            raise ShapeError(
                f'{call}: padding "same" makes the output as large as it can be; expected '
                f"output_padding 0 with it, got {output_padding}"
            )
        image = tuple(n * s for n, s in zip(small, strides, strict=True))
    else:
        pads = pair(call, "padding", 0 if padding == "valid" else padding, least=0)
        along = zip(small, size, strides, dilations, pads, extra, strict=True)
        image = tuple((n - 1) * s - 2 * p + d * (k - 1) + 1 + e for n, k, s, d, p, e in along)
    if min(image) < 1 or min(small) < 1:
        raise ShapeError(
            f"{call}: expected an output of at least 1×1, got {image} from an input of {small}, "
            f"a window of {size} and padding {padding!r}; use less padding"
        )
    return window(call, image, size, strides, padding, dilations)


@lru_cache(maxsize=1024)
def _window(
    call: str, image: Pair, size: Pair, stride: Pair, padding: Pair | str, dilation: Pair
) -> Window:
    if padding == "same":
        top, bottom = _same(image[0], size[0], stride[0], dilation[0])
        left, right = _same(image[1], size[1], stride[1], dilation[1])
    else:
        (top, left) = (bottom, right) = (0, 0) if isinstance(padding, str) else padding
    result = Window(image, size, stride, (top, bottom, left, right), dilation)
    if min(result.out) < 1:
        raise ShapeError(
            f"{call}: expected the window to fit into the padded image, got a "
            f"{_by(result.reach)} window (size {_by(size)}, dilation {_by(dilation)}) and a "
            f"{_by(result.padded)} image ({_by(image)} with padding {padding!r}); "
            f"use a smaller window, a larger image or more padding"
        )
    return result


def _same(image: int, size: int, stride: int, dilation: int) -> Pair:
    """Zeros before and after one axis, so that out = ⌈image / stride⌉."""
    total = max((-(-image // stride) - 1) * stride + dilation * (size - 1) + 1 - image, 0)
    return total // 2, total - total // 2


def pair(call: str, name: str, value: int | tuple[int, ...], least: int) -> Pair:
    """An argument of `call` given as an int or a pair of ints, none below `least`."""
    if type(value) is int and value >= least:
        return value, value
    items = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    try:
        first, second = (operator.index(item) for item in items)
    except (TypeError, ValueError):
        first = second = least - 1
    # True has an index too, but a stride of True is a mistake, not a stride of 1.
    if first < least or second < least or any(isinstance(item, bool) for item in items):
        kind = "whole numbers above 0" if least else "whole numbers, 0 or more"
        raise ShapeError(f"{call}: expected {name} to be an int or a pair of {kind}, got {value!r}")
    return first, second


def _by(size: Pair) -> str:
    return f"{size[0]}×{size[1]}"
