"""NumPy's functions on tensors: `np.exp(t)`, `np.concatenate([t, u])`, `np.where(mask, t, 0)`.

NumPy asks the arguments of its functions whether they want to do the work themselves. Tensors do,
by the operation of that name, so that gradients flow. Where there is no such operation, a function
of values that need a gradient is refused, because its result would be an array that forgot them;
a function of other values is NumPy's own.
"""

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from . import ops
from .errors import GradientError
from .modes import is_recording
from .tensor import Tensor

# Operations that NumPy knows under another name.
NAMES = {
    "absolute": "abs", "dot": "matmul", "amax": "max", "amin": "min", "true_divide": "divide",
    "concat": "concatenate", "permute_dims": "transpose",
}  # fmt: skip
# Their results are truths, numbers of places, or text: no gradient flows through them.
WITHOUT_GRADIENT = {
    *("shape", "ndim", "size", "argmax", "argmin", "argsort", "nonzero", "count_nonzero", "any"),
    *("all", "allclose", "isclose", "array_equal", "isnan", "isinf", "isfinite", "sign", "floor"),
    *("ceil", "rint", "array2string", "array_repr", "array_str", "less", "less_equal", "greater"),
    *("greater_equal", "equal", "not_equal", "logical_not", "logical_and", "logical_or"),
    *("shares_memory", "may_share_memory", "result_type", "iscomplexobj", "isrealobj"),
}


def _operation(name: str) -> Callable[..., Tensor] | None:
    name = NAMES.get(name, name)
    return getattr(ops, name) if name in ops.__all__ else None


def __array_ufunc__(self: Tensor, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
    """NumPy's elementwise functions, such as np.exp(t) and array * t."""
    operation = _operation(ufunc.__name__)
    if operation is not None and method == "__call__" and not options:
        return operation(*inputs)
    called = f"np.{ufunc.__name__}" + (f".{method}" if method != "__call__" else "")
    return _by_numpy(called, getattr(ufunc, method), inputs, options)


def __array_function__(self: Tensor, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
    """NumPy's other functions, such as np.concatenate([t, u])."""
    if function in (np.shape, np.ndim, np.size) and isinstance(args[0], Tensor) and not args[1:]:
        return getattr(args[0], function.__name__)
    operation = _operation(function.__name__)
    if operation is None:
        return _by_numpy(f"np.{function.__name__}", function, args, kwargs)
    known = set(inspect.signature(operation).parameters)
    unknown = [name for name, value in kwargs.items() if name not in known and value is not None]
    if unknown:
        raise TypeError(
            f"np.{function.__name__}: of a tensor it takes no {', '.join(unknown)}; use "
            f"md.ops.{operation.__name__}, which takes {', '.join(sorted(known))}"
        )
    return operation(*args, **{name: value for name, value in kwargs.items() if name in known})


def _by_numpy(called: str, function: Any, args: Any, kwargs: Any) -> Any:
    """NumPy's own result, on arrays. Raises: GradientError where a gradient would be lost."""
    name = called.removeprefix("np.")
    tensors = list(_tensors((args, kwargs)))
    if name not in WITHOUT_GRADIENT and is_recording() and any(t.requires_grad for t in tensors):
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
    if isinstance(value, Tensor):
        return value.data
    if isinstance(value, list | tuple):
        return type(value)(map(_as_arrays, value))
    if isinstance(value, dict):
        return {key: _as_arrays(item) for key, item in value.items()}
    return value


tensor_class: Any = Tensor
tensor_class.__array_ufunc__ = __array_ufunc__
tensor_class.__array_function__ = __array_function__
