"""NumPy's functions on tensors: `np.exp(t)`, `np.concatenate([t, u])`, `np.where(mask, t, 0)`.

NumPy asks the arguments of its functions whether they want to do the work themselves. Tensors do:
the operation of `ops` that computes the same runs instead, so that gradients flow. For some
functions there is no such operation. Their result would be an array, which forgets the gradient. So
they are refused for tensors that need a gradient. For other tensors NumPy's own function runs.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from . import ops
from .errors import GradientError
from .modes import is_recording
from .tensor import Tensor, as_tensor

UFUNCS = {"absolute": "abs", "true_divide": "divide"} | {
    name: name for name in ops.__all__ if isinstance(getattr(np, name, None), np.ufunc)
}
# Their results are truth values, indices, steps, types or text: no gradient flows through them.
WITHOUT_GRADIENT = {
    *("argmax", "argmin", "argsort", "nonzero", "count_nonzero", "any", "all", "allclose"),
    *("isclose", "array_equal", "isnan", "isinf", "isfinite", "sign", "floor", "ceil", "rint"),
    *("array2string", "array_repr", "array_str", "less", "less_equal", "greater"),
    *("greater_equal", "equal", "not_equal", "logical_not", "logical_and", "logical_or"),
    *("shares_memory", "may_share_memory", "result_type", "iscomplexobj", "isrealobj"),
}


def _norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Tensor:
    if ord is not None:
        raise TypeError("np.linalg.norm: of a tensor it takes no ord; md.ops.norm is the 2-norm")
    return ops.norm(x, axis, keepdims)


def _dot(a: Any, b: Any) -> Tensor:
    a, b = as_tensor(a), as_tensor(b)
    if not a.ndim or not b.ndim:
        return ops.multiply(a, b)
    return ops.tensordot(a, b, ((a.ndim - 1,), (max(b.ndim - 2, 0),)))


def _pad(x: Any, pad_width: Any, mode: str = "constant", *, constant_values: float = 0) -> Tensor:
    if mode != "constant":
        raise TypeError(f"np.pad: of a tensor it takes mode='constant' alone, got {mode!r}")
    widths = np.broadcast_to(pad_width, (np.ndim(x), 2)).tolist()
    return ops.pad(x, [tuple(pair) for pair in widths], constant_values)


def _concatenate(arrays: Any, axis: int | None = 0) -> Tensor:
    parts = [ops.flatten(t) for t in arrays] if axis is None else arrays
    return ops.concatenate(parts, axis or 0)


def _clip(a: Any, a_min: Any = None, a_max: Any = None, *, min: Any = None, max: Any = None) -> Any:
    return ops.clip(a, min if a_min is None else a_min, max if a_max is None else a_max)


def _cumsum(a: Any, axis: int | None = None) -> Tensor:
    return ops.cumsum(ops.flatten(a), 0) if axis is None else ops.cumsum(a, axis)


# Each takes those arguments of NumPy's function that the operation supports.
FUNCTIONS: dict[Any, Callable[..., Any]] = {
    np.sum: lambda a, axis=None, *, keepdims=False: ops.sum(a, axis, keepdims),
    np.mean: lambda a, axis=None, *, keepdims=False: ops.mean(a, axis, keepdims),
    np.max: lambda a, axis=None, *, keepdims=False: ops.max(a, axis, keepdims),
    np.min: lambda a, axis=None, *, keepdims=False: ops.min(a, axis, keepdims),
    np.var: lambda a, axis=None, *, ddof=0, keepdims=False: ops.var(a, axis, ddof, keepdims),
    np.std: lambda a, axis=None, *, ddof=0, keepdims=False: ops.std(a, axis, ddof, keepdims),
    np.cumsum: _cumsum,
    np.linalg.norm: _norm,
    np.dot: _dot,
    np.tensordot: ops.tensordot,
    np.outer: ops.outer,
    np.einsum: ops.einsum,
    np.concatenate: _concatenate,
    np.stack: lambda arrays, axis=0: ops.stack(arrays, axis),
    np.where: lambda condition, x, y: ops.where(condition, x, y),
    np.clip: _clip,
    np.pad: _pad,
    np.reshape: lambda a, shape: ops.reshape(a, shape),
    np.ravel: lambda a: ops.flatten(a),
    np.transpose: lambda a, axes=None: ops.transpose(a) if axes is None else ops.transpose(a, axes),
    np.swapaxes: lambda a, axis1, axis2: ops.swapaxes(a, axis1, axis2),
    np.moveaxis: lambda a, source, destination: ops.moveaxis(a, source, destination),
    np.expand_dims: lambda a, axis: ops.expand_dims(a, axis),
    np.squeeze: lambda a, axis=None: ops.squeeze(a, axis),
    np.broadcast_to: lambda array, shape: ops.broadcast_to(array, shape),
    np.flip: lambda m, axis=None: ops.flip(m, axis),
    np.roll: lambda a, shift, axis: ops.roll(a, shift, axis),
    np.tril: lambda m, k=0: ops.tril(m, k),
    np.triu: lambda m, k=0: ops.triu(m, k),
    np.shape: lambda a: a.shape,
    np.ndim: lambda a: a.ndim,
}


def __array_ufunc__(self: Tensor, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
    """NumPy's elementwise functions, such as np.exp(t) and array * t."""
    name = UFUNCS.get(ufunc.__name__)
    if name is not None and method == "__call__" and not options:
        return getattr(ops, name)(*inputs)
    for out in (*options.get("out", ()), *(inputs[:1] if method == "at" else ())):
        if isinstance(out, Tensor):
            raise GradientError(
                f"np.{ufunc.__name__}: expected to write into an array, got a tensor; assign the "
                "result to t.data, which is counted as a change of its values"
            )
    called = f"np.{ufunc.__name__}" + (f".{method}" if method != "__call__" else "")
    return _by_numpy(called, getattr(ufunc, method), inputs, options)


def __array_function__(self: Tensor, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
    """NumPy's other functions, such as np.concatenate([t, u])."""
    called = f"np.{function.__name__}"
    ours = FUNCTIONS.get(function)
    if ours is None:
        return _by_numpy(called, function, args, kwargs)
    try:
        return ours(*args, **kwargs)
    except TypeError as error:
        if "argument" not in str(error):
            raise
        what = str(error).partition(" ")[2]
        raise TypeError(f"{called}: of a tensor it {what}; use the operation in md.ops") from None


def _by_numpy(called: str, function: Any, args: Any, kwargs: Any) -> Any:
    """NumPy's own result, on arrays. Raises: GradientError where a gradient would be lost."""
    name = called.removeprefix("np.")
    needed = any(t.requires_grad for t in _tensors((args, kwargs)))
    if name not in WITHOUT_GRADIENT and is_recording() and needed:
        raise GradientError(
            f"{called}: there is no operation of this name, and NumPy's own result would lose the "
            "gradient; write it with md.ops, or take the values alone: t.detach()"
        )
    return function(*_as_arrays(args), **_as_arrays(kwargs))


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _tensors(item)


def _as_arrays(value: Any) -> Any:
    """`value` with each tensor replaced by its array: read-only if it is on the CPU and trained."""
    if isinstance(value, Tensor):
        return value.numpy() if value.device == "cpu" else value.data
    if isinstance(value, list | tuple):
        return type(value)(map(_as_arrays, value))
    if isinstance(value, dict):
        return {key: _as_arrays(item) for key, item in value.items()}
    return value


tensor_class: Any = Tensor
tensor_class.__array_ufunc__ = __array_ufunc__
tensor_class.__array_function__ = __array_function__
