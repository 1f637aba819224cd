"""Layers made of layers: one after the other, or beside a shortcut."""

from collections.abc import Iterator
from typing import Any

from ..errors import ConfigError, ShapeError
from ..tensor import ArrayLike, as_tensor
from .fuse import fused
from .module import Module


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

    def __setitem__(self, index: int, layer: Module) -> None:
        if not isinstance(layer, Module):
            raise ConfigError(f"Sequential: expected a layer, got {layer!r} for position {index}")
        self.layers[index] = layer

    def forward(self, x: ArrayLike) -> Any:
        for layer in fused(self.layers):
            x = layer(x)
        return x


class Residual(Module):
    """y = shortcut(x) + scale·branch(x); the shortcut is the identity unless one is given.

    Gradient: dL/dx = g + scale·(the branch's dL/dx for this g). The identity passes g on unchanged,
    however small the branch's part is.
    Raises: ShapeError where branch and shortcut give two shapes.
    Source: He et al. 2016.
    """

    def __init__(self, branch: Module, shortcut: Module | None = None, scale: float = 1.0) -> None:
        self.branch, self.shortcut, self.scale = branch, shortcut, scale

    def forward(self, x: ArrayLike) -> Any:
        y = self.branch(x)
        skip = as_tensor(x) if self.shortcut is None else self.shortcut(x)
        if y.shape != skip.shape:
            raise ShapeError(
                f"Residual: expected the branch to give shape {skip.shape}, got {y.shape}; give a "
                "shortcut, such as a 1×1 Conv2d with the branch's channels and stride"
            )
        return skip + (y if self.scale == 1 else self.scale * y)
