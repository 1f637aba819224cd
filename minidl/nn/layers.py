"""Layers without weights, layers that normalise, and layers made of layers."""

import inspect
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np

from .. import device, ops, rng
from ..checks import check
from ..errors import ConfigError, ShapeError
from ..tensor import ArrayLike, Tensor, as_tensor, tensor
from .linear import Conv2d
from .module import Module, Parameter


def _layer(name: str, op: Callable[..., Tensor], **defaults: Any) -> type[Module]:
    """A class of layers y = op(x, options): its arguments are the options, in op's order."""
    taken = list(inspect.signature(op).parameters.values())[1:]
    taken = [p.replace(kind=p.POSITIONAL_OR_KEYWORD) for p in taken]
    taken = [p.replace(default=defaults.get(p.name, p.default)) for p in taken]
    signature = inspect.Signature(taken)

    def __init__(self: Module, *args: Any, **options: Any) -> None:
        bound = signature.bind(*args, **options)
        bound.apply_defaults()
        vars(self).update(bound.arguments)

    def forward(self: Module, x: ArrayLike) -> Tensor:
        return op(x, **{name: getattr(self, name) for name in signature.parameters})

    body = {"__init__": __init__, "forward": forward, "__doc__": op.__doc__}
    return type(name, (Module,), body | {"__module__": __name__, "__signature__": signature})


MaxPool2d = _layer("MaxPool2d", ops.max_pool2d)
AvgPool2d = _layer("AvgPool2d", ops.avg_pool2d)
GlobalAvgPool2d = _layer("GlobalAvgPool2d", ops.global_avg_pool2d)
Flatten = _layer("Flatten", ops.flatten, start=1)
ReLU = _layer("ReLU", ops.relu)
LeakyReLU = _layer("LeakyReLU", ops.leaky_relu)
ELU = _layer("ELU", ops.elu)
SELU = _layer("SELU", ops.selu)
GELU = _layer("GELU", ops.gelu)
Tanh = _layer("Tanh", ops.tanh)
Sigmoid = _layer("Sigmoid", ops.sigmoid)
Softmax = _layer("Softmax", ops.softmax)


class Dropout(Module):
    """In training, each value is 0 with probability p, else divided by 1 - p, so that E y = x.

    Source: Srivastava et al. 2014, section 10.
    """

    def __init__(self, p: float = 0.5) -> None:
        check("Dropout", "in [0, 1)", p=p)
        self.p = p

    def forward(self, x: ArrayLike) -> Tensor:
        x = as_tensor(x)
        if not self.training or self.p == 0:
            return x
        kept = rng.generator().random(x.shape, dtype=np.float32) >= self.p
        mask = kept.astype(x.dtype) * (1 / (1 - self.p))
        return x * Tensor(device.to_device(mask, x.device))


class BatchNorm2d(Module):
    """y = γ·(x - mean)/√(var + ε) + β by channel; γ is `weight`, β is `bias`.

    Shapes: (N, C, H, W) -> (N, C, H, W); weight, bias, running_mean, running_var (C,).
    In training, mean and variance are the batch's, and the running ones move towards them (the
    unbiased variance) by `momentum`; in eval, the running ones are used.
    Source: Ioffe, Szegedy 2015, algorithms 1 and 2.
    """

    buffers = ("running_mean", "running_var", "num_batches_tracked")

    def __init__(self, features: int, momentum: float = 0.1, eps: float = 1e-5) -> None:
        check("BatchNorm2d", "an int >= 1", features=features)
        check("BatchNorm2d", "in [0, 1]", momentum=momentum)
        check("BatchNorm2d", "> 0", eps=eps)
        self.features, self.momentum, self.eps = features, momentum, eps
        self.weight, self.bias = Parameter(np.ones(features)), Parameter(np.zeros(features))
        self.running_mean = tensor(np.zeros(features))
        self.running_var = tensor(np.ones(features))
        self.num_batches_tracked = tensor(0)

    def forward(self, x: ArrayLike) -> Tensor:
        x, n = as_tensor(x), self.features
        if x.ndim != 4 or x.shape[1] != n or (self.training and x.size < 2 * n):
            raise ShapeError(
                f"BatchNorm2d({n}): expected images (N, {n}, H, W), in training with two or more "
                f"values per channel, got {x.shape}; change batch_size if the last batch holds one"
            )
        if self.training:
            self.num_batches_tracked.data += 1
            y, mean, var = ops.normalize.batch_norm(x, self.weight, self.bias, self.eps)
            count = x.size // n
            self._follow(self.running_mean.data, mean)
            self._follow(self.running_var.data, var * (count / (count - 1)))
            return y
        values = (self.weight, self.bias, self.running_mean, self.running_var)
        weight, bias, mean, var = (t.reshape(1, n, 1, 1) for t in values)
        scale = weight / (var + self.eps).sqrt()
        return x * scale + (bias - mean * scale)

    def _follow(self, running: Any, now: Any) -> None:
        running *= 1 - self.momentum
        running += self.momentum * now


class LayerNorm(Module):
    """y = γ·(x - mean)/√(var + ε) + β over the last axes of each example.

    Shapes: (..., *shape) -> the same; weight, bias: shape. Source: Ba, Kiros, Hinton 2016, eq. 4.
    """

    def __init__(self, shape: int | tuple[int, ...], eps: float = 1e-5) -> None:
        self.shape = tuple(shape) if isinstance(shape, tuple | list) else (shape,)
        check("LayerNorm", "an int >= 1", **{f"shape[{i}]": n for i, n in enumerate(self.shape)})
        check("LayerNorm", "> 0", eps=eps)
        self.eps = eps
        self.weight, self.bias = Parameter(np.ones(self.shape)), Parameter(np.zeros(self.shape))

    def forward(self, x: ArrayLike) -> Tensor:
        x, n = as_tensor(x), len(self.shape)
        if x.shape[-n:] != self.shape:
            raise ShapeError(f"LayerNorm: expected last axes {self.shape}, got x of {x.shape}")
        axes = tuple(range(x.ndim - n, x.ndim))
        return ops.standardize(x, axes, self.eps) * self.weight + self.bias


class Sequential(Module):
    """Layers applied one after the other; `layers` lists them."""

    def __init__(self, *layers: Module) -> None:
        for i, layer in enumerate(layers):
            if not isinstance(layer, Module):
                raise ConfigError(f"Sequential: expected layers, got {layer!r} at position {i}")
        self.layers = list(layers)

    def _members(self, kind: type) -> Iterator[tuple[str, Any]]:
        return ((name.removeprefix("layers."), m) for name, m in super()._members(kind))

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Module]:
        return iter(self.layers)

    def __getitem__(self, index: Any) -> Any:
        return Sequential(*self.layers[index]) if isinstance(index, slice) else self.layers[index]

    def forward(self, x: ArrayLike) -> Any:
        layers: list[Any] = list(self.layers)
        # relu rises, so max(relu(x)) = relu(max(x)): pool first, and fewer pixels are rectified.
        for i, (first, then) in enumerate(pairwise(layers)):
            if _untouched(first, ReLU) and _untouched(then, MaxPool2d):
                layers[i : i + 2] = then, first
        while layers:
            (layer, *layers), y = layers, None
            if layers and _joins(layer, layers[0]):
                rectify = len(layers) > 1 and _untouched(layers[1], ReLU)
                y = layer.pooled(x, layers[0], rectify)
                layers = layers if y is None else layers[1 + rectify :]
            x = layer(x) if y is None else y
        return x


def _untouched(layer: Module, kind: type) -> bool:
    return type(layer) is kind and not layer.hooks and "forward" not in vars(layer)


def _joins(layer: Any, then: Module) -> bool:
    """Whether they are a convolution and a pooling that may run as one: nobody looks in between."""
    plain = type(layer).forward is Conv2d.forward and not layer.transposed
    blind = "forward" not in vars(layer) and all(hasattr(hook, "pooled") for hook in layer.hooks)
    return plain and blind and _untouched(then, MaxPool2d)


class Residual(Module):
    """y = shortcut(x) + scale·branch(x); the shortcut is the identity unless one is given.

    Gradient: the identity hands g on unchanged, however small the branch's. Source: He et al. 2016.
    """

    def __init__(self, branch: Module, shortcut: Module | None = None, scale: float = 1.0) -> None:
        self.branch, self.shortcut, self.scale = branch, shortcut, scale

    def forward(self, x: ArrayLike) -> Tensor:
        y = self.branch(x)
        skip = as_tensor(x) if self.shortcut is None else self.shortcut(x)
        if y.shape != skip.shape:
            raise ShapeError(
                f"Residual: expected the branch to give shape {skip.shape}, got {y.shape}; give a "
                "shortcut, such as a 1×1 Conv2d with the branch's channels and stride"
            )
        return skip + (y if self.scale == 1 else self.scale * y)
