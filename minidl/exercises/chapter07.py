"""Write a convolution and its two gradients as loops."""

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

import minidl as md
from minidl.tensor import record

from .answers import Wrong, compare, function, gradient

# Stride, padding and kernel: each of them shows a mistake that another one hides.
GEOMETRIES = [(1, 0, (3, 3)), (2, 0, (3, 3)), (1, 1, (3, 3)), (2, 1, (2, 3)), (3, 2, (3, 2))]


@dataclass(frozen=True)
class Loops:
    """The reader's three functions."""

    forward: Callable[..., Any]
    by_input: Callable[..., Any]
    by_kernel: Callable[..., Any]


@dataclass(frozen=True)
class Example:
    """Images x, weights w, the gradient g by the result, and stride and padding of the window."""

    x: np.ndarray
    w: np.ndarray
    g: np.ndarray
    stride: int
    padding: int

    @property
    def padded(self) -> np.ndarray:
        """The images in their frames of zeros."""
        frame = (self.padding, self.padding)
        return np.pad(self.x, ((0, 0), (0, 0), frame, frame))

    def __str__(self) -> str:
        shapes = f"x {self.x.shape}, w {self.w.shape}"
        return f"{shapes}, stride {self.stride}, padding {self.padding}"


def check(answer: ModuleType) -> str:
    """Values first, then both gradients, then first and second derivative by numbers."""
    loops = Loops(*(function(answer, name) for name in ("forward", "by_input", "by_kernel")))
    for seed, geometry in enumerate(GEOMETRIES):
        one = _example(seed, *geometry)
        _forward(loops, one)
        _by_input(loops, one)
        _by_kernel(loops, one)
    worst = max(_by_numbers(loops, seed) for seed in range(3))
    return (
        f"Values and gradients are right for {len(GEOMETRIES)} geometries. First and second "
        f"derivative agree with numbers; the largest relative error is {worst:.0e}."
    )


def _example(seed: int, stride: int, padding: int, kernel: tuple[int, int]) -> Example:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(2, 2, *rng.integers(5, 9, 2)))
    w = rng.normal(size=(3, 2, *kernel))
    g = rng.normal(size=_conv(x, w, stride, padding).shape)
    return Example(x, w, g, stride, padding)


def _forward(loops: Loops, one: Example) -> None:
    x, w, stride, padding = one.x, one.w, one.stride, one.padding
    one_sided = np.pad(x, ((0, 0), (0, 0), (0, 2 * padding), (0, 2 * padding)))
    repeated = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)), mode="edge")
    right = _conv(x, w, stride, padding)
    mistakes = {
        "The stride is not used.": _conv(x, w, 1, padding),
        "The stride belongs to the place: r·stride + i, not r + i·stride.": _spread(one),
        "The frame must be zeros, not copies of the border.": _conv(repeated, w, stride, 0),
        "It is divided by the number of input channels: add them up.": right / x.shape[1],
        "The rows and the columns of the kernel are exchanged.": _conv(
            x, w.swapaxes(2, 3), stride, padding
        ),
        "The padding is not used.": _conv(x, w, stride, 0),
        "The padding stands on one side only.": _conv(one_sided, w, stride, 0),
        "The kernel is turned: tap (i, j) lies on pixel (r·stride + i, c·stride + j).": _conv(
            x, w[:, :, ::-1, ::-1], stride, padding
        ),
        "Only the first input channel is summed.": _conv(x[:, :1], w[:, :1], stride, padding),
    }
    found = loops.forward(x, w, stride, padding)
    rows, columns = (size - 1 for size in right.shape[2:])
    mistakes["The first place counts too: add 1 to the number of moves."] = right[
        :, :, :rows, :columns
    ]
    if padding and np.shape(found)[:1] == (len(x) + 2 * padding,):
        raise Wrong(
            f"forward ({one}): there are {len(found)} images in place of {len(x)}. With one number "
            "np.pad frames all four axes; frame the rows and columns alone: "
            "((0, 0), (0, 0), (padding, padding), (padding, padding))."
        )
    compare(f"forward ({one})", found, right, mistakes)


def _by_input(loops: Loops, one: Example) -> None:
    height, width = one.x.shape[2:]
    rows, columns = (slice(one.padding, one.padding + size) for size in (height, width))
    whole = _gradients(one.padded, one.w, one.g, one.stride, 0)[0]
    last = _last_message(one)
    turned = _gradients(one.padded, one.w[:, :, ::-1, ::-1], one.g, one.stride, 0)[0]
    dense = _dense(one)
    ones = _gradients(one.padded, one.w, np.ones(one.g.shape), one.stride, 0)[0]
    mistakes = {
        "g is missing: multiply each weight by it.": ones[:, :, rows, columns],
        "Windows overlap, and each overwrites the one before: use += in place of =.": last[
            :, :, rows, columns
        ],
        "The stride is not used.": _gradients(one.padded, one.w, dense, 1, 0)[0][
            :, :, rows, columns
        ],
        "The padding is still on it: cut the frame off at the end.": whole,
        "The frame is cut off on one side only.": whole[:, :, :height, :width],
        "The kernel is turned.": turned[:, :, rows, columns],
    }
    if one.padding == 0:
        mistakes[
            "Where padding is 0, [padding:-padding] is empty: cut [padding : padding + H]."
        ] = whole[:, :, :0, :0]
    found = loops.by_input(one.g, one.w, one.stride, one.padding, (height, width))
    compare(f"by_input ({one})", found, whole[:, :, rows, columns], mistakes)


def _by_kernel(loops: Loops, one: Example) -> None:
    right = _gradients(one.x, one.w, one.g, one.stride, one.padding)[1]
    last = np.zeros_like(one.g)
    frame = (0, 2 * one.padding)
    one_sided = np.pad(one.x, ((0, 0), (0, 0), frame, frame))
    last[-1, :, -1, -1] = one.g[-1, :, -1, -1]
    mistakes = {
        "The stride is not used.": _gradients(one.x, one.w, _dense(one), 1, one.padding)[1],
        "The padding stands on one side only.": (
            _gradients(one_sided, one.w, one.g, one.stride, 0)[1]
        ),
        "The rows and the columns of the kernel are exchanged.": right.swapaxes(2, 3),
        "Only the last place counts: a weight is used everywhere, so use += in place of =.": (
            _gradients(one.x, one.w, last, one.stride, one.padding)[1]
        ),
        "g is missing: multiply each pixel by it.": (
            _gradients(one.x, one.w, np.ones(one.g.shape), one.stride, one.padding)[1]
        ),
        "Only the first image counts: add up all images.": (
            _gradients(one.x[:1], one.w, one.g[:1], one.stride, one.padding)[1]
        ),
        "It is divided by the number of images: the mean is in the loss, and so in g.": (
            right / len(one.x)
        ),
        "The kernel is turned.": right[:, :, ::-1, ::-1],
    }
    found = loops.by_kernel(one.x, one.g, one.stride, one.padding, one.w.shape[2:])
    compare(f"by_kernel ({one})", found, right, mistakes)


def _by_numbers(loops: Loops, seed: int) -> float:
    """The largest error of the derivatives of an operation made of the reader's functions.

    by_input and by_kernel are the gradients of forward. Their own gradients are made of the same
    three functions. So the second derivative can be checked as well.
    """
    rng = np.random.default_rng(seed)
    stride, padding, size, kernel = 1 + seed % 2, seed % 2, (5, 4), (3, 2)

    def forward(x: Any, w: Any) -> Any:
        value = loops.forward(x.data, w.data, stride, padding)
        pulls = (x, lambda g, y: by_input(g, w)), (w, lambda g, y: by_kernel(x, g))
        return record(value, *pulls, name="forward")

    def by_input(g: Any, w: Any) -> Any:
        value = loops.by_input(g.data, w.data, stride, padding, size)
        pulls = (g, lambda h, y: forward(h, w)), (w, lambda h, y: by_kernel(h, g))
        return record(value, *pulls, name="by_input")

    def by_kernel(x: Any, g: Any) -> Any:
        value = loops.by_kernel(x.data, g.data, stride, padding, kernel)
        pulls = (x, lambda h, y: by_input(g, h)), (g, lambda h, y: forward(x, h))
        return record(value, *pulls, name="by_kernel")

    x, w = rng.normal(size=(1, 2, *size)), rng.normal(size=(2, 2, *kernel))
    return gradient("your convolution", forward, x, w, order=2).worst


def _conv(x: np.ndarray, w: np.ndarray, stride: int, padding: int) -> np.ndarray:
    return md.ops.conv2d(x, w, stride=stride, padding=padding).numpy()


def _gradients(
    x: np.ndarray, w: np.ndarray, g: np.ndarray, stride: int, padding: int
) -> tuple[np.ndarray, np.ndarray]:
    _, pull = md.vjp(lambda x, w: md.ops.conv2d(x, w, stride=stride, padding=padding), x, w)
    dx, dw = pull(g)
    return dx.numpy(), dw.numpy()


def _dense(one: Example) -> np.ndarray:
    """The gradient g, where somebody who forgets the stride puts it: at places side by side."""
    dense = np.zeros(_conv(one.x, one.w, 1, one.padding).shape)
    dense[:, :, : one.g.shape[2], : one.g.shape[3]] = one.g
    return dense


def _spread(one: Example) -> np.ndarray:
    """The result of forward if the taps are `stride` apart, and the places side by side."""
    n_out, n_in, kh, kw = one.w.shape
    spread = np.zeros((n_out, n_in, (kh - 1) * one.stride + 1, (kw - 1) * one.stride + 1))
    if spread.shape[2] > one.padded.shape[2] or spread.shape[3] > one.padded.shape[3]:
        return np.zeros(0)
    spread[:, :, :: one.stride, :: one.stride] = one.w
    rows, columns = one.g.shape[2:]
    return _conv(one.padded, spread, 1, 0)[:, :, :rows, :columns]


def _last_message(one: Example) -> np.ndarray:
    """The result of by_input if each window overwrites the windows before it, not cut to x."""
    dx, (kh, kw) = np.zeros_like(one.padded), one.w.shape[2:]
    for n, o, r, c in np.ndindex(one.g.shape):
        top, left = r * one.stride, c * one.stride
        dx[n, :, top : top + kh, left : left + kw] = one.w[o] * one.g[n, o, r, c]
    return dx
