"""Normalisation as layers: values rescaled to mean 0 and variance 1, then scaled and shifted."""

import numpy as np

from .. import kernels, ops
from ..checks import check
from ..errors import ShapeError
from ..tensor import ArrayLike, Tensor, as_tensor, tensor
from .module import Module, Parameter


class BatchNorm2d(Module):
    """y = γ·(x - mean)/√(var + ε) + β by channel; γ is `weight`, β is `bias`.

    In training, mean and var are those of the batch. The running ones follow them:
    running ← (1 - momentum)·running + momentum·(that of the batch), where the batch's variance is
    the unbiased one, n/(n - 1)·var with n = N·H·W. In eval mode the running ones are used.
    rectify: relu follows, see `nn.fuse`.
    Shapes: (N, C, H, W) -> (N, C, H, W); weight, bias, running_mean, running_var (C,).
    Gradient: see `ops.normalize.batch_norm`; in training, mean and var depend on x.
    Raises: ShapeError for images with other channels, and in training for one value per channel.
    Source: Ioffe, Szegedy 2015, algorithms 1 and 2.
    """

    fusable = True
    buffers = ("running_mean", "running_var", "num_batches_tracked")

    def __init__(self, features: int, momentum: float = 0.1, eps: float = 1e-5) -> None:
        check("BatchNorm2d", "an int >= 1", features=features)
        check("BatchNorm2d", "in [0, 1]", momentum=momentum)
        check("BatchNorm2d", "> 0", eps=eps)
        self.features, self.momentum, self.eps = int(features), float(momentum), float(eps)
        self.weight, self.bias = Parameter(np.ones(features)), Parameter(np.zeros(features))
        self.running_mean = tensor(np.zeros(features))
        self.running_var = tensor(np.ones(features))
        self.num_batches_tracked = tensor(0)

    def forward(self, x: ArrayLike, rectify: bool = False) -> Tensor:
        x, n = as_tensor(x), self.features
        count = kernels.values_per_channel(x) if x.ndim == 4 and x.shape[1] == n else -1
        if count < (2 if self.training else 0):
            raise ShapeError(
                f"BatchNorm2d({n}): expected images (N, {n}, H, W), in training with two or more "
                f"values per channel, got {x.shape}; change batch_size if the last batch holds one"
            )
        if self.training:
            running = [getattr(self, name).data for name in self.buffers]
            layer = self.weight, self.bias, self.eps, running, self.momentum
            y, moved = ops.normalize.batch_norm(x, *layer, rectify)
            self.running_mean.data, self.running_var.data = moved
            return y
        values = (self.weight, self.bias, self.running_mean, self.running_var)
        weight, bias, mean, var = (t.reshape(1, n, 1, 1) for t in values)
        scale = weight / (var + self.eps).sqrt()
        y = x * scale + (bias - mean * scale)
        return ops.relu(y) if rectify else y


class LayerNorm(Module):
    """y = γ·(x - mean)/√(var + ε) + β, mean and var over the last axes, for each example by itself.

    γ is `weight`, β is `bias`. Gradient: dL/dx is that of `ops.standardize` with g·γ in place of g.
    Shapes: (..., *shape) -> the same; weight and bias have `shape`.
    Raises: ShapeError where the last axes of x do not have `shape`.
    Source: Ba, Kiros, Hinton 2016, eq. 4.
    """

    def __init__(self, shape: int | tuple[int, ...], eps: float = 1e-5) -> None:
        self.shape = tuple(shape) if isinstance(shape, tuple | list) else (shape,)
        check("LayerNorm", "an int >= 1", **{f"shape[{i}]": n for i, n in enumerate(self.shape)})
        check("LayerNorm", "> 0", eps=eps)
        self.eps = float(eps)
        self.weight, self.bias = Parameter(np.ones(self.shape)), Parameter(np.zeros(self.shape))

    def forward(self, x: ArrayLike) -> Tensor:
        x, n = as_tensor(x), len(self.shape)
        if x.shape[-n:] != self.shape:
            raise ShapeError(f"LayerNorm: expected last axes {self.shape}, got x of {x.shape}")
        axes = tuple(range(x.ndim - n, x.ndim))
        return ops.standardize(x, axes, self.eps) * self.weight + self.bias
