"""Initial weights: their scale decides whether signals and gradients explode or vanish.

Called with a shape, an initializer draws the weights: `he_normal((10, 784))`. Called with its
parameters alone, such as `normal(0.3)` or `constant(value=0.1)`, it returns an initializer that has
these parameters, for a layer: `Dense(784, 10, init=normal(0.3))`. A layer also takes an
initializer's name, or any function of a shape.

Shapes are (out, in) or (out, in/groups, kh, kw), also for transposed convolutions. fan_in is
in/groups·kh·kw, the number of inputs that an output sums. fan_out is out·kh·kw. (In a transposed
convolution with a stride an output sums fewer than fan_in.)
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import device, rng
from ..checks import check
from ..errors import ConfigError, ShapeError

Shape = tuple[int, ...]
Initializer = str | Callable[[Shape], Any]
_named: dict[str, Callable[..., Any]] = {}


def draw(call: str, init: Initializer, shape: Shape) -> Any:
    """Weights of `shape`, drawn by a layer's `init`. call: the layer's name, for errors.

    Raises: ConfigError for an unknown initializer, ShapeError for weights of another shape.
    """
    f = _named.get(init) if isinstance(init, str) else init
    if not callable(f):
        names = ", ".join(_named)
        raise ConfigError(f"{call}: expected init to be a function or one of {names}; got {init!r}")
    weights = f(shape)
    if np.shape(weights) != shape:
        raise ShapeError(f"{call}: expected init to give shape {shape}, got {np.shape(weights)}")
    return weights


def _initializer(f: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(f)
    def either(*args: Any, **options: Any) -> Any:
        if args and isinstance(args[0], tuple | list):
            return np.asarray(f(tuple(args[0]), *args[1:], **options), device.FLOAT)
        return lambda shape: either(shape, *args, **options)

    _named[f.__name__] = either
    return either


@_initializer
def normal(shape: Shape, std: float = 0.01) -> np.ndarray:
    """N(0, std²)."""
    check("normal", ">= 0", std=std)
    return rng.generator().normal(0, std, shape)


@_initializer
def uniform(shape: Shape, low: float = 0.0, high: float = 1.0) -> np.ndarray:
    """U(low, high)."""
    check("uniform", ">= 0", width=high - low)
    return rng.generator().uniform(low, high, shape)


@_initializer
def constant(shape: Shape, value: float = 0.0) -> np.ndarray:
    """The same value everywhere."""
    return np.full(shape, value)


@_initializer
def zeros(shape: Shape) -> np.ndarray:
    """0 everywhere."""
    return np.zeros(shape)


@_initializer
def orthogonal(shape: Shape, gain: float = 1.0) -> np.ndarray:
    """gain·Q, Q (out, fan_in) with orthonormal rows or columns: every singular value is gain.

    Q comes from a QR decomposition of normal numbers. Its signs are corrected, because Q would not
    be uniformly distributed otherwise.
    Source: Saxe, McClelland, Ganguli 2013; Mezzadri 2007 for the signs.
    """
    fan_in = fans(shape)[0]
    tall = (max(shape[0], fan_in), min(shape[0], fan_in))
    q, r = np.linalg.qr(rng.generator().normal(size=tall))
    q *= np.copysign(gain, np.diag(r))
    return (q if shape[0] >= fan_in else q.T).reshape(shape)


def fans(shape: Shape) -> tuple[int, int]:
    """(fan_in, fan_out) of weights of `shape`."""
    if len(shape) < 2:
        raise ShapeError(f"init: expected a shape (out, in, ...), got {shape}")
    return math.prod(shape[1:]), shape[0] * math.prod(shape[2:])


@_initializer
def xavier_normal(shape: Shape, gain: float = 1.0) -> np.ndarray:
    """N(0, σ²), σ = gain·√(2/(fan_in + fan_out)). Source: Glorot, Bengio 2010, eq. 12."""
    return normal(shape, gain * math.sqrt(2 / sum(fans(shape))))


@_initializer
def xavier_uniform(shape: Shape, gain: float = 1.0) -> np.ndarray:
    """U(-a, a), a = gain·√(6/(fan_in + fan_out)). Source: Glorot, Bengio 2010, eq. 16."""
    a = gain * math.sqrt(6 / sum(fans(shape)))
    return uniform(shape, -a, a)


@_initializer
def he_normal(shape: Shape, gain: float = math.sqrt(2)) -> np.ndarray:
    """N(0, σ²), σ = gain/√fan_in. Source: He et al. 2015, eq. 10.

    With the gain √2, the mean of y² stays the same from one ReLU layer to the next.
    """
    return normal(shape, gain / math.sqrt(fans(shape)[0]))


@_initializer
def he_uniform(shape: Shape, gain: float = math.sqrt(2)) -> np.ndarray:
    """U(-a, a), a = gain·√(3/fan_in): of the same variance as `he_normal`."""
    a = gain * math.sqrt(3 / fans(shape)[0])
    return uniform(shape, -a, a)


@_initializer
def lecun_normal(shape: Shape, gain: float = 1.0) -> np.ndarray:
    """N(0, σ²), σ = gain/√fan_in: the initializer for SELU. Source: LeCun et al. 1998, eq. 16."""
    return normal(shape, gain / math.sqrt(fans(shape)[0]))
