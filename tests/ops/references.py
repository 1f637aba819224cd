"""What each operation's value is, written again, plainly, without minidl.

Loops over Python numbers where the formula is short, NumPy where only values are moved.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Array = np.ndarray


def each(f: Callable[..., float]) -> Callable[..., Array]:
    """f of Python numbers, for every element of arrays that broadcast."""

    def over(*arrays: Any, **kwargs: Any) -> Array:
        shape = np.broadcast_shapes(*(np.shape(a) for a in arrays))
        flat = [np.broadcast_to(a, shape).ravel().tolist() for a in arrays]
        values = [f(*numbers, **kwargs) for numbers in zip(*flat, strict=True)]
        return np.array(values, dtype=np.float64).reshape(shape)

    return over


def reduced(f: Callable[..., float]) -> Callable[..., Array]:
    """f of a list of numbers, for every set of elements that `axis` sends to one place."""

    def over(x: Array, axis: Any = None, keepdims: bool = False, **kwargs: Any) -> Array:
        axes = range(x.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
        gone = {a % x.ndim for a in axes} if x.ndim else set()
        kept = tuple(1 if i in gone else n for i, n in enumerate(x.shape))
        places: dict[tuple[int, ...], list[float]] = {i: [] for i in np.ndindex(kept)}
        for i in np.ndindex(x.shape):
            places[tuple(0 if k in gone else n for k, n in enumerate(i))].append(float(x[i]))
        y = np.array([f(places[i], **kwargs) for i in np.ndindex(kept)]).reshape(kept)
        return y if keepdims else y.reshape([n for i, n in enumerate(kept) if i not in gone])

    return over


def by_line(f: Callable[..., list[float]]) -> Callable[..., Array]:
    """f of a list of numbers giving as many, along one axis."""

    def over(x: Array, axis: int = -1, **kwargs: Any) -> Array:
        y = np.empty_like(x)
        moved, out = np.moveaxis(x, axis, -1), np.moveaxis(y, axis, -1)
        for i in np.ndindex(moved.shape[:-1]):
            out[i] = f(moved[i].tolist(), **kwargs)
        return y

    return over


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def elu(x: float, alpha: float = 1.0) -> float:
    return x if x > 0 else alpha * (math.exp(x) - 1)


def gelu(x: float, approximate: str = "none") -> float:
    if approximate == "none":
        return x * (0.5 * math.erfc(-x / math.sqrt(2)))
    return x * sigmoid(2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x))


def clip(x: float, low: float | None = None, high: float | None = None) -> float:
    if low is not None and x < low:
        return low
    return high if high is not None and x > high else x


def mean(xs: list[float]) -> float:
    return math.fsum(xs) / len(xs)


def var(xs: list[float], ddof: int = 0) -> float:
    return math.fsum((x - mean(xs)) ** 2 for x in xs) / (len(xs) - ddof)


def logsumexp(xs: list[float]) -> float:
    return math.log(math.fsum(map(math.exp, xs)))


def softmax(xs: list[float]) -> list[float]:
    return [math.exp(x) / math.fsum(map(math.exp, xs)) for x in xs]


def cumulative(xs: list[float]) -> list[float]:
    return list(itertools.accumulate(xs))


def standardize(x: Array, axis: Any = None, eps: float = 1e-5) -> Array:
    centre, spread = reduced(mean)(x, axis, True), reduced(var)(x, axis, True)
    return np.array((x - centre) / np.sqrt(spread + eps))


def einsum(*xs: Array, subscripts: str) -> Array:
    terms, arrow, out = subscripts.replace(" ", "").partition("->")
    names = terms.split(",")
    if not arrow:
        every = "".join(names)
        out = "".join(sorted(c for c in set(every) if every.count(c) == 1))
    lengths = [n for x in xs for n in x.shape]
    sizes = dict(zip("".join(names), lengths, strict=True))
    y = np.zeros([sizes[c] for c in out])
    for place in itertools.product(*(range(n) for n in sizes.values())):
        at = dict(zip(sizes, place, strict=True))
        term = math.prod(float(x[tuple(at[c] for c in n)]) for n, x in zip(names, xs, strict=True))
        y[tuple(at[c] for c in out)] += term
    return y


def matmul(a: Array, b: Array) -> Array:
    left, right = a[None] if a.ndim == 1 else a, b[:, None] if b.ndim == 1 else b
    lead = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    left = np.broadcast_to(left, (*lead, *left.shape[-2:]))
    right = np.broadcast_to(right, (*lead, *right.shape[-2:]))
    y = np.zeros((*lead, left.shape[-2], right.shape[-1]))
    for *at, i, j in np.ndindex(y.shape):
        row, column = left[(*at, i)], right[(*at, slice(None), j)]
        y[(*at, i, j)] = math.fsum(float(p * q) for p, q in zip(row, column, strict=True))
    if a.ndim == 1:
        y = y[..., 0, :]
    return np.asarray(y[..., 0] if b.ndim == 1 else y)


def averaged(f: Callable[..., float]) -> Callable[..., Array]:
    """The mean of f over all pairs (p, t)."""

    def over(p: Array, t: Array, **kwargs: Any) -> Array:
        return np.array(np.mean(each(f)(p, t, **kwargs)))

    return over


def huber(p: float, t: float, delta: float = 1.0) -> float:
    d = abs(p - t)
    return d * d / 2 if d <= delta else delta * (d - delta / 2)


def binary_cross_entropy(x: float, t: float) -> float:
    return -t * math.log(sigmoid(x)) - (1 - t) * math.log(1 - sigmoid(x))


def cross_entropy(logits: Array, labels: Array) -> Array:
    lines = zip(logits.tolist(), labels.tolist(), strict=True)
    return np.array(-mean([math.log(softmax(line)[k]) for line, k in lines]))


# Windows


def two(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def _axis(n: int, k: int, stride: int, padding: Any, dilation: int) -> tuple[int, int]:
    """Zeros before the axis, and how many places the window takes on it."""
    if padding == "same":
        places = math.ceil(n / stride)
        missing = max(stride * (places - 1) + dilation * (k - 1) + 1 - n, 0)
        return missing // 2, places
    places = 0
    while places * stride + dilation * (k - 1) < n + 2 * padding:
        places += 1
    return padding, places


def _plan(x: Array, size: Any, stride: Any, padding: Any, dilation: Any) -> tuple[Any, ...]:
    pads = ("same", "same") if padding == "same" else two(0 if padding == "valid" else padding)
    return tuple(
        _axis(n, k, s, p, d)
        for n, k, s, p, d in zip(x.shape[2:], size, two(stride), pads, two(dilation), strict=True)
    )


def conv2d(
    x: Array,
    w: Array,
    b: Array | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Array:
    (top, rows), (left, columns) = _plan(x, w.shape[2:], stride, padding, dilation)
    (sh, sw), (dh, dw), share = two(stride), two(dilation), len(w) // groups
    y = np.zeros((len(x), len(w), rows, columns))
    for n, o, p, q in np.ndindex(y.shape):
        total = 0.0 if b is None else float(b[o])
        for c, i, j in np.ndindex(w.shape[1:]):
            row, column = p * sh + i * dh - top, q * sw + j * dw - left
            if 0 <= row < x.shape[2] and 0 <= column < x.shape[3]:
                total += float(w[o, c, i, j] * x[n, o // share * w.shape[1] + c, row, column])
        y[n, o, p, q] = total
    return y


def conv_transpose2d(
    x: Array,
    w: Array,
    b: Array | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Array:
    (sh, sw), (dh, dw) = two(stride), two(dilation)
    (_, _, h, v), (_, share, kh, kw) = x.shape, w.shape
    if padding == "same":
        height, width = h * sh, v * sw
        top, left = (
            max((n - 1) * s + d * (k - 1) + 1 - n * s, 0) // 2
            for n, s, d, k in ((h, sh, dh, kh), (v, sw, dw, kw))
        )
    else:
        (top, left), (more, wider) = two(0 if padding == "valid" else padding), two(output_padding)
        height = (h - 1) * sh - 2 * top + dh * (kh - 1) + 1 + more
        width = (v - 1) * sw - 2 * left + dw * (kw - 1) + 1 + wider
    y = np.zeros((len(x), share * groups, height, width))
    for n, c, p, q in np.ndindex(x.shape):
        for o, i, j in np.ndindex(w.shape[1:]):
            row, column = p * sh + i * dh - top, q * sw + j * dw - left
            if 0 <= row < height and 0 <= column < width:
                to = c // (len(w) // groups) * share + o
                y[n, to, row, column] += x[n, c, p, q] * w[c, o, i, j]
    return y if b is None else y + b.reshape(-1, 1, 1)


def pooled(f: Callable[[Sequence[float], int], float]) -> Callable[..., Array]:
    """f of the pixels (those inside the image, and the window's full number) at each place."""

    def over(x: Array, size: Any, stride: Any = None, padding: Any = 0) -> Array:
        (kh, kw), step = two(size), size if stride is None else stride
        (top, rows), (left, columns) = _plan(x, (kh, kw), step, padding, 1)
        y = np.zeros((*x.shape[:2], rows, columns))
        for n, c, p, q in np.ndindex(y.shape):
            first = p * two(step)[0] - top, q * two(step)[1] - left
            down = slice(max(first[0], 0), max(first[0] + kh, 0))
            across = slice(max(first[1], 0), max(first[1] + kw, 0))
            y[n, c, p, q] = f(x[n, c, down, across].ravel().tolist(), kh * kw)
        return y

    return over
