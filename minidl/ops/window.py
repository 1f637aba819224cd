"""Operations in which a window slides over images: convolution and pooling.

Shapes: images (N, C, H, W), kernels (C_out, C_in/groups, kh, kw). Along an axis of n pixels, a
window of k taps covers r = dilation·(k - 1) + 1 pixels, and stands at
out = ⌊(n + pads - r)/stride⌋ + 1 places.
padding: an int, a pair (rows, columns), "valid" (none), or "same" (out = ⌈n/stride⌉).
All raise ShapeError unless x are images, and the options and the window fit them.

A convolution is linear in x and in w. So its gradients by x and by w are linear maps as well: its
two transposes. The derivatives of each of the three maps are the other two. Therefore derivatives
of any order need no further rule:

    y = forward(x, w)      dL/dx = by_input(g, w)      dL/dw = by_kernel(x, g)
"""

from dataclasses import dataclass
from typing import Any

from .. import checks, kernels
from ..kernels import Window
from ..tensor import ArrayLike, Tensor, record
from .reduce import mean_of, sum
from .shape import reshape


@dataclass(frozen=True)
class Convolution:
    """The three linear maps for one geometry; each one's pullbacks are the other two."""

    window: Window
    groups: int

    def forward(self, x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
        """y (N, O, OH, OW): the convolution of x and w, plus b."""
        bias = () if b is None else ((b, lambda g, y: sum(g, (0, 2, 3))),)
        return record(
            kernels.conv_forward(
                x.data, w.data, None if b is None else b.data, self.window, self.groups
            ),
            (x, lambda g, y: self.by_input(g, w)),
            (w, lambda g, y: self.by_kernel(x, g)),
            *bias,
            name="conv2d",
        )

    def by_input(self, g: Tensor, w: Tensor) -> Tensor:
        """dL/dx (N, C, H, W): each g, times w, added to the pixels that its window saw."""
        return record(
            kernels.conv_input_grad(g.data, w.data, self.window, self.groups),
            (g, lambda h, y: self.forward(h, w)),
            (w, lambda h, y: self.by_kernel(h, g)),
            name="conv_transpose2d",
        )

    def by_kernel(self, x: Tensor, g: Tensor) -> Tensor:
        """dL/dw (O, C/groups, kh, kw): for each tap, the sum of the pixels under it times g."""
        return record(
            kernels.conv_weight_grad(x.data, g.data, self.window, self.groups),
            (x, lambda h, y: self.by_input(g, h)),
            (g, lambda h, y: self.forward(x, h)),
            name="conv2d by w",
        )


def conv2d(
    x: ArrayLike,
    w: ArrayLike,
    b: ArrayLike | None = None,
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """y[n,o,p,q] = b[o] + Σ x[n,c,p·s+i·d,q·s+j·d]·w[o,c,i,j] over c, i, j (cross-correlation).

    Here x is the padded image, s the stride, d the dilation, and c runs over the channels of o's
    group.
    Shapes: x (N, in, H, W), w (out, in/groups, kh, kw), b (out,) -> (N, out, OH, OW).
    Gradient: each product of the sum gives g[n,o,p,q] times its other factor. So dL/dx is a
    `conv_transpose2d` of g and w. dL/dw[o,c,i,j] = Σ g[n,o,p,q]·x[n,c,p·s+i·d,q·s+j·d] and
    dL/db[o] = Σ g[n,o,p,q], both over n, p, q.
    Raises: ShapeError where channels, groups or the window do not fit.
    """
    x, w, b, convolved = convolution("conv2d", x, w, b, stride, padding, dilation, groups)
    return convolved.forward(x, w, b)


def convolution(
    call: str, x: ArrayLike, w: ArrayLike, b: Any, stride: Any, padding: Any, dilation: Any,
    groups: int,
) -> tuple[Tensor, Tensor, Tensor | None, Convolution]:  # fmt: skip
    """The checked arguments of a convolution, and its geometry."""
    x, w, b = checks.convolution(call, x, w, b, groups, transposed=False)
    window = kernels.window(call, x.shape[2:], w.shape[2:], stride, padding, dilation)
    return x, w, b, Convolution(window, groups)


def conv_transpose2d(
    x: ArrayLike,
    w: ArrayLike,
    b: ArrayLike | None = None,
    *,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """The transpose of conv2d: each x[n,c,p,q] adds x[n,c,p,q]·w[c,o] to its window of y[n,o].

    Shapes: x (N, in, H, W), w (in, out/groups, kh, kw), b (out,) -> (N, out, OH, OW) with
    OH = (H - 1)·stride - 2·padding + dilation·(kh - 1) + 1 + output_padding.
    output_padding: additional rows and columns at the bottom and right, fewer than the stride. With
    a stride, conv2d maps images of several sizes to one size. It says which of them y shall have.
    padding: "valid" is 0; "same" makes OH = H·stride, and takes no output_padding.
    Gradient: dL/dx = conv2d(g, w); dL/dw is that of conv2d with g as the image and x as its
    gradient; dL/db = Σ g over all but the channels.
    Raises: ShapeError where channels, groups, output_padding or the window do not fit.
    """
    call = "conv_transpose2d"
    x, w, b = checks.convolution(call, x, w, b, groups, transposed=True)
    window = kernels.transposed_window(
        call, x.shape[2:], w.shape[2:], stride, padding, output_padding, dilation
    )
    y = Convolution(window, groups).by_input(x, w)
    return y if b is None else y + reshape(b, 1, -1, 1, 1)


def max_pool2d(
    x: ArrayLike, size: Any, *, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
    rectify: bool = False,
) -> Tensor:  # fmt: skip
    """y = the largest x in each window; g goes to the first largest in row-major order.

    Shapes: x (N, C, H, W) -> (N, C, OH, OW). stride is size by default.
    padding: smaller than the window; the padding's pixels are -inf, so they are never the largest.
    ceil_mode: add a last window that the image fills only in part.
    rectify: take relu of that. Where it is 0, g goes nowhere.
    Numerics: a NaN counts as the largest.
    """
    x = checks.images("max_pool2d", x)
    window = kernels.pooling("max_pool2d", x.shape[2:], size, stride, padding, ceil_mode)
    value, index = kernels.max_pool(x.data, window, rectify)
    name = "max_pool2d" + rectify * " + relu"
    return record(value, (x, lambda g, y: unpool(g, index, window)), name=name)


def unpool(g: Tensor, index: Any, window: Window) -> Tensor:
    """The gradient of max-pooling: each g at the pixel that was its window's maximum.

    Where windows share that pixel, their g are added. The map is linear; `take` is its transpose.
    """
    value = kernels.max_unpool(g.data, index, window)
    return record(value, (g, lambda h, y: take(h, index, window)), name="max_unpool2d")


def take(h: Tensor, index: Any, window: Window) -> Tensor:
    """h at the pixel that was each window's maximum; the transpose of `unpool`."""
    value = kernels.max_take(h.data, index, window)
    return record(value, (h, lambda g, y: unpool(g, index, window)), name="max_take2d")


def avg_pool2d(
    x: ArrayLike,
    size: Any,
    *,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """y = the mean of each window; each pixel of a window gets g/m, m the pixels that count.

    Shapes: x (N, C, H, W) -> (N, C, OH, OW). stride is size by default.
    count_include_pad: whether the padding's zeros count, so that m = kh·kw.
    ceil_mode: add a last window that the image fills only in part. What it covers outside the image
    and its padding does not count.
    """
    x = checks.images("avg_pool2d", x)
    window = kernels.pooling("avg_pool2d", x.shape[2:], size, stride, padding, ceil_mode)
    share = window.share(count_include_pad)
    y = _average(x, window)
    return y if share is None else y / share.astype(x.dtype)


def _average(x: Tensor, window: Window) -> Tensor:
    value = kernels.avg_pool(x.data, window)
    return record(value, (x, lambda g, y: _spread(g, window)), name="avg_pool2d")


def _spread(g: Tensor, window: Window) -> Tensor:
    value = kernels.avg_unpool(g.data, window)
    return record(value, (g, lambda h, y: _average(h, window)), name="avg_unpool2d")


def global_avg_pool2d(x: ArrayLike) -> Tensor:
    """y = the mean over each whole image; every pixel gets g/(H·W).

    Shapes: x (N, C, H, W) -> (N, C).
    """
    return mean_of("global_avg_pool2d", checks.images("global_avg_pool2d", x), (2, 3), False)
