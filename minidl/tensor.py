"""Tensor: an array, its gradient, and the operators.

The operators and methods that are operations (`+`, `@`, `.sum()`, ...) are attached by `ops`,
where each stands beside its derivative; here they are only declared.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from . import backend, graph
from .backend import FLOAT, Array
from .errors import DeviceError, DTypeError, ShapeError

ArrayLike: TypeAlias = Any  # a Tensor, an array, a number, or nested lists of numbers


_attached: Any = None


class Tensor:
    """An array on one device; with requires_grad, operations on it are recorded.

    data: the array (numpy or cupy). grad: dL/dself after `backward`, or None.
    """

    __slots__ = ("__weakref__", "data", "grad", "node", "requires_grad")
    __array_ufunc__ = None  # `array + tensor` is our __radd__, not NumPy's ufunc
    __array_priority__ = 1000  # the same for CuPy's arrays, whose own is 100
    __hash__ = object.__hash__

    def __init__(self, data: Array) -> None:
        self.data: Array = np.asarray(data) if isinstance(data, np.generic) else data
        self.grad: Tensor | None = None
        self.requires_grad = False
        self.node: graph.Node | None = None

    @property
    def _module(self) -> Any:
        return backend.array_module(self.data)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape

    @property
    def ndim(self) -> int:
        return self.data.ndim

    @property
    def size(self) -> int:
        return self.data.size

    @property
    def dtype(self) -> np.dtype:
        return self.data.dtype

    @property
    def device(self) -> str:
        """'cpu' or 'cuda'."""
        return backend.device_of(self.data)

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded operation made this tensor."""
        return self.node is None

    def backward(
        self, grad: ArrayLike = None, *, retain_graph: bool = False, create_graph: bool = False
    ) -> None:
        """Add dL/dx to `.grad` of every leaf x with requires_grad that self was computed from.

        grad: dL/dself, of self's shape; a scalar needs none (dL/dL = 1).
        retain_graph: keep the graph for another backward pass.
        create_graph: record the pass itself, so that its results can be differentiated.
        Raises: GradientError where nothing was recorded, self is not a scalar and grad is
        missing, or the graph was freed; ShapeError where grad's shape is not self's.
        """
        graph.backward(self, grad, retain_graph=retain_graph, create_graph=create_graph)

    def numpy(self) -> np.ndarray:
        """The values on the host: the array itself on the CPU, a copy from a GPU."""
        return backend.to_host(self.data)

    def item(self) -> Any:
        """The one value as a Python number."""
        if self.size != 1:
            raise ShapeError(f"item: expected one value, got shape {self.shape}")
        return self.data.item()

    def detach(self) -> "Tensor":
        """The same array without its history."""
        return Tensor(self.data)

    def to(self, device: str) -> "Tensor":
        """This tensor on a device; gradients flow back to the one it came from."""
        if device == self.device:
            return self
        here = self.device
        return graph.record(backend.to_device(self.data, device), (self, lambda g, y: g.to(here)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if self.device != "cpu":
            raise DeviceError(f"a tensor on '{self.device}' is no NumPy array: use .numpy()")
        if copy is None:
            return np.asarray(self.data, dtype=dtype)
        return np.array(self.data, dtype=dtype, copy=copy)

    def __dlpack__(self, **kwargs: Any) -> Any:
        return self.data.__dlpack__(**kwargs)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.data.__dlpack_device__()

    def __repr__(self) -> str:
        text = np.array2string(self.numpy(), separator=", ", prefix="tensor(")
        grad = ", requires_grad=True" if self.requires_grad else ""
        return f"tensor({text}, dtype={self.dtype}{grad})"

    def __len__(self) -> int:
        if self.ndim == 0:
            raise ShapeError("len: a tensor of shape () has no length")
        return self.shape[0]

    def __iter__(self) -> Iterator["Tensor"]:
        return (self[i] for i in range(len(self)))

    def __bool__(self) -> bool:
        return bool(self.item())

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    if TYPE_CHECKING:  # what `ops` attaches: operators, then methods with NumPy's argument names
        __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _attached
        __truediv__ = __rtruediv__ = __pow__ = __rpow__ = __matmul__ = __rmatmul__ = _attached
        __neg__ = __abs__ = __getitem__ = __lt__ = __le__ = __gt__ = __ge__ = _attached
        sum = mean = max = min = var = std = cumsum = logsumexp = norm = _attached
        reshape = transpose = swapaxes = moveaxis = flatten = squeeze = expand_dims = _attached
        pad = flip = broadcast_to = astype = stack = T = mT = _attached
        exp = log = sqrt = square = abs = clip = relu = tanh = sigmoid = _attached
        softmax = log_softmax = _attached


graph.tensor_class = Tensor


def tensor(
    data: ArrayLike, *, dtype: Any = None, device: str | None = None, requires_grad: bool = False
) -> Tensor:
    """A tensor with its own copy of the data.

    dtype: floating data becomes float32 unless it is given, integers and bools keep theirs.
    device: 'cpu' or 'cuda'; where the data lies already, unless given.
    Raises: DTypeError for data that are no numbers, or requires_grad on integers;
    ShapeError for ragged lists; DeviceError for a device that is not there.
    """
    source = data.data if isinstance(data, Tensor) else data
    if hasattr(source, "__dlpack__") and not hasattr(source, "get"):
        source = np.asarray(source)
    if not hasattr(source, "dtype"):
        source = _from_python("tensor", source)
    _check_numeric("tensor", source)
    if dtype is None and source.dtype.kind == "f":
        dtype = FLOAT
    try:
        array = backend.array_module(source).array(source, dtype=dtype)
    except TypeError as error:
        raise DTypeError(f"tensor: expected a NumPy dtype, got {dtype!r}") from error
    out = Tensor(backend.to_device(array, device) if device else array)
    if requires_grad and out.dtype.kind != "f":
        raise DTypeError(
            f"tensor: requires_grad=True needs floating-point data, got {out.dtype}; integers and "
            "bools carry no gradient: pass dtype='float32'"
        )
    out.requires_grad = bool(requires_grad)
    return out


def as_tensor(x: ArrayLike, like: Tensor | None = None) -> Tensor:
    """x as a Tensor, without a copy where it is an array, which keeps its dtype.

    like: a Python number takes its dtype and device, so that numbers never promote.
    """
    if isinstance(x, Tensor):
        return x
    if like is not None and isinstance(x, bool | int | float):
        whole = like.dtype.kind in "iub" and isinstance(x, int)
        dtype = like.dtype if like.dtype.kind in "fc" else None if whole else FLOAT
        return Tensor(backend.number(x, like.data, dtype))
    if not hasattr(x, "dtype"):
        x = _from_python("as_tensor", x)
        x = x.astype(FLOAT) if x.dtype.kind == "f" else x
    _check_numeric("as_tensor", x)
    return Tensor(x)


def _from_python(call: str, x: Any) -> np.ndarray:
    try:
        array = np.asarray(x)
    except ValueError as error:
        raise ShapeError(f"{call}: expected numbers in equally long lists, got {x!r}") from error
    return array


def _check_numeric(call: str, array: Array) -> None:
    if array.dtype.kind not in "fiubc":
        raise DTypeError(f"{call}: expected numbers, got dtype {array.dtype}")


def from_dlpack(source: Any) -> Tensor:
    """A tensor that shares the memory of any array with `__dlpack__` (torch, jax, cupy, ...)."""
    try:
        kind, _ = source.__dlpack_device__()
        xp = backend.cupy() if kind == 2 else np  # 2 is kDLCUDA in dlpack.h
        return Tensor(xp.from_dlpack(source))
    except (AttributeError, BufferError, RuntimeError) as error:
        raise DTypeError(f"from_dlpack: cannot share {type(source).__name__}: {error}") from None
