"""Case: what the suite knows about one operation."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import minidl as md
from tests.ops import draws as d
from tests.ops.draws import Call


@dataclass(frozen=True)
class Case:
    """draw: seeded inputs. reference: computes the value plainly, without minidl. edges: inputs
    with no axes, of size 1 and of size 0. call: how the arrays are passed, if not as op(a, b).
    linear: ⟨A x, u⟩ = ⟨x, Aᵀ u⟩ is tested too."""

    draw: d.Draw
    reference: Callable[..., np.ndarray]
    edges: Callable[[], list[Call]]
    call: Callable[..., Any] = lambda op, *xs, **kwargs: op(*xs, **kwargs)
    linear: bool = False

    def function(self, name: str, kwargs: dict[str, Any]) -> Callable[..., md.Tensor]:
        """The operation with its keyword arguments fixed."""
        op = getattr(md.ops, name)

        def run(*xs: Any) -> md.Tensor:
            return self.call(op, *xs, **kwargs)

        run.__name__ = f"{name}({', '.join(f'{k}={v!r}' for k, v in kwargs.items())})"
        return run


def same(y: md.Tensor, expected: np.ndarray) -> None:
    """The same shape and values, as near as float64 allows."""
    assert y.shape == np.shape(expected)
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-11, atol=1e-12)


def filled(shape: tuple[int, ...], value: float = 0.4) -> np.ndarray:
    """Distinct values around `value`."""
    return value + 0.07 * np.arange(math.prod(shape), dtype=float).reshape(shape)


def same_shapes(inputs: int = 1, **kwargs: Any) -> Callable[[], list[Call]]:
    """Every edge shape, for all inputs alike."""
    return lambda: [
        ([filled(shape, 0.4 - 0.2 * i) for i in range(inputs)], kwargs) for shape in d.EDGE_SHAPES
    ]


def nonempty(inputs: int = 1, **kwargs: Any) -> Callable[[], list[Call]]:
    return lambda: [c for c in same_shapes(inputs, **kwargs)() if all(x.size for x in c[0])]


def given(*calls: Call) -> Callable[[], list[Call]]:
    return lambda: list(calls)


def shaped(*pairs: tuple[tuple[int, ...], dict[str, Any]]) -> Callable[[], list[Call]]:
    return lambda: [([filled(shape)], kwargs) for shape, kwargs in pairs]
