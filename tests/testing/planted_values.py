"""Operations with a mistake planted in their value. Every one of them must be found."""

import numpy as np

from minidl import ops

# what is wrong: (name of the operation, the wrong one)
FORWARDS = {
    "max-pooling that pads with 0": (
        "max_pool2d",
        lambda x, size, stride=None, padding=0: (
            ops.max_pool2d(
                np.pad(x - 5.0, ((0, 0), (0, 0), (1, 1), (1, 1))) + 0.0, size, stride=stride
            )
            + 5.0
            if padding == 1
            else ops.max_pool2d(x, size, stride=stride, padding=padding)
        ),
    ),
    "average pooling that leaves the padding out": (
        "avg_pool2d",
        lambda x, size, stride=None, padding=0: (
            ops.avg_pool2d(x, size, stride=stride, padding=padding)
            / ops.avg_pool2d(np.ones_like(x), size, stride=stride, padding=padding)
        ),
    ),
    "an output one too large": (
        "conv2d",
        lambda x, w, b=None, **kwargs: ops.pad(
            ops.conv2d(x, w, b, **kwargs), ((0, 0), (0, 0), (0, 1), (0, 0))
        ),
    ),
    "an output one too small": (
        "avg_pool2d",
        lambda x, size, **kwargs: ops.avg_pool2d(x, size, **kwargs)[:, :, :-1],
    ),
    "a kernel that is turned": (
        "conv2d",
        lambda x, w, b=None, **kwargs: ops.conv2d(x, w[:, :, ::-1, ::-1], b, **kwargs),
    ),
    "swapped operands": ("subtract", lambda a, b: ops.subtract(b, a)),
    "the wrong axis": ("softmax", lambda x, axis=-1: ops.softmax(x, 0)),
    "another default axis": ("log_softmax", lambda x, axis=0: ops.log_softmax(x, axis)),
    "another default slope": ("leaky_relu", lambda x, slope=0.02: ops.leaky_relu(x, slope)),
    "another default ddof": ("var", lambda x, ddof=1, **kwargs: ops.var(x, ddof=ddof, **kwargs)),
    "the approximation by default": (
        "gelu",
        lambda x, approximate="tanh": ops.gelu(x, approximate),
    ),
    "a stride of one by default": (
        "max_pool2d",
        lambda x, size, stride=1, **kwargs: ops.max_pool2d(x, size, stride=stride, **kwargs),
    ),
    "an axis that is kept": ("sum", lambda x, axis=None, keepdims=True: ops.sum(x, axis, keepdims)),
    "a mean without its 1/N": ("mean", ops.sum),
    "a loss without its 1/N": (
        "cross_entropy",
        lambda x, t: ops.cross_entropy(x, t) * float(len(x)),
    ),
    "an inverse permutation": (
        "transpose",
        lambda x, axes=None: ops.transpose(
            x, None if axes is None else tuple(np.argsort([a % x.ndim for a in axes]).tolist())
        ),
    ),
    "a diagonal too few": ("tril", lambda x, k=0: ops.tril(x, k - 1)),
    "a bias that is dropped": (
        "conv_transpose2d",
        lambda x, w, b=None, **k: ops.conv_transpose2d(x, w, **k),
    ),
}
