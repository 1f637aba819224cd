"""The article's CNN and a few more. Each ends in logits, because cross_entropy has the softmax.

All raise ConfigError for images too small for the model, and for a number that is no int >= 1.
"""

from collections.abc import Sequence
from itertools import pairwise

from .checks import check
from .errors import ConfigError
from .nn import (
    BatchNorm2d,
    Conv2d,
    Dense,
    Flatten,
    GlobalAvgPool2d,
    MaxPool2d,
    Module,
    ReLU,
    Residual,
    Sequential,
)
from .nn.init import Initializer


def article_cnn(
    init: Initializer = "he_normal", *, in_channels: int = 1, size: int = 28, classes: int = 10
) -> Sequential:
    """The article's CNN: one convolution of 32 3×3 kernels, ReLU, 2×2 max-pooling, dense.

    Shapes: (N, in_channels, size, size) -> (N, classes).
    """
    _fits("article_cnn", size, 2)
    return Sequential(
        Conv2d(in_channels, 32, 3, stride=1, padding="same", init=init),
        ReLU(),
        MaxPool2d(2, stride=2),
        Flatten(),
        Dense(32 * (size // 2) ** 2, classes, init=init),
    )


def mlp(
    inputs: int,
    hidden: Sequence[int] = (512, 512),
    classes: int = 10,
    init: Initializer = "he_normal",
    activation: type[Module] = ReLU,
) -> Sequential:
    """Dense layers with an activation after each but the last.

    Shapes: (N, ...) with `inputs` values in all -> (N, classes).
    """
    layers: list[Module] = [Flatten()]
    for n_in, n_out in pairwise((inputs, *hidden)):
        layers += [Dense(n_in, n_out, init=init), activation()]
    return Sequential(*layers, Dense((inputs, *hidden)[-1], classes, init=init))


def vgg_small(
    in_channels: int = 3, size: int = 32, classes: int = 10, init: Initializer = "he_normal"
) -> Sequential:
    """Two pairs of 3×3 convolutions (32, 64 channels) with BatchNorm, pooled; two dense layers.

    Shapes: (N, in_channels, size, size) -> (N, classes).
    Source: Simonyan, Zisserman 2014, made small.
    """
    _fits("vgg_small", size, 4)
    layers: list[Module] = []
    for n_in, n_out in ((in_channels, 32), (32, 64)):
        layers += [*_conv(n_in, n_out, 3, 1, init), ReLU()]
        layers += [*_conv(n_out, n_out, 3, 1, init), ReLU(), MaxPool2d(2)]
    head = Dense(64 * (size // 4) ** 2, 128, init=init), ReLU(), Dense(128, classes, init=init)
    return Sequential(*layers, Flatten(), *head)


def resnet_small(
    in_channels: int = 3, size: int = 32, classes: int = 10, init: Initializer = "he_normal"
) -> Sequential:
    """A convolution, three residual blocks of 16, 32 and 64 channels, global average, dense.

    Shapes: (N, in_channels, size, size) -> (N, classes), size >= 4.
    Source: He et al. 2016, section 4.2, made small.
    """
    _fits("resnet_small", size, 4)
    layers: list[Module] = [*_conv(in_channels, 16, 3, 1, init), ReLU()]
    for n_in, n_out, stride in ((16, 16, 1), (16, 32, 2), (32, 64, 2)):
        branch = *_conv(n_in, n_out, 3, stride, init), ReLU(), *_conv(n_out, n_out, 3, 1, init)
        shortcut = Sequential(*_conv(n_in, n_out, 1, stride, init)) if stride > 1 else None
        layers += [Residual(Sequential(*branch), shortcut), ReLU()]
    return Sequential(*layers, GlobalAvgPool2d(), Dense(64, classes, init=init))


def _conv(n_in: int, n_out: int, k: int, stride: int, init: Initializer) -> tuple[Module, Module]:
    """A convolution and a BatchNorm2d, which would subtract a bias again: so there is none."""
    conv = Conv2d(n_in, n_out, k, stride=stride, padding=k // 2, bias=False, init=init)
    return conv, BatchNorm2d(n_out)


def deep_plain_cnn(
    depth: int,
    width: int,
    init: Initializer = "he_normal",
    *,
    in_channels: int = 1,
    size: int = 28,
    classes: int = 10,
) -> Sequential:
    """The lab's CNN: `depth` 3×3 convolutions of `width` channels with ReLU, then dense.

    The first two convolutions halve the image (stride 2). No layer normalises, so the initial
    weights alone decide whether signals and gradients explode or vanish.
    Shapes: (N, in_channels, size, size) -> (N, classes).
    """
    check("deep_plain_cnn", "an int >= 1", depth=depth, width=width)
    _fits("deep_plain_cnn", size, 1)
    layers: list[Module] = []
    for i in range(depth):
        stride = 2 if i < 2 else 1
        n_in = width if i else in_channels
        layers += [Conv2d(n_in, width, 3, stride=stride, padding=1, init=init), ReLU()]
        size = (size + stride - 1) // stride
    return Sequential(*layers, Flatten(), Dense(width * size**2, classes, init=init))


def _fits(call: str, size: int, least: int) -> None:
    check(call, "an int >= 1", size=size)
    if size < least:
        raise ConfigError(f"{call}: expected images of size {least} or more, got size={size}")
