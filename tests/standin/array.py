"""The stand-in's array: NumPy's arithmetic behind CuPy's names, refusals and counters."""

import functools
import json
import operator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from .graph import tape

VERSIONS = json.loads(Path(__file__).with_name("names.json").read_text())


def _in_every_version(part: str) -> dict[str, set[str] | None]:
    """Names that each supported CuPy has, each with the arguments that it has in all of them."""
    first, *others = (version[part] for version in VERSIONS.values())
    common: dict[str, set[str] | None] = {}
    for name, arguments in first.items():
        if all(name in other for other in others):
            every = [set(other[name] or ()) for other in others]
            common[name] = None if arguments is None else set(arguments).intersection(*every)
    return common


MODULE, ARRAY = _in_every_version("module"), _in_every_version("array")
UFUNCS = set.intersection(*(set(version["ufuncs"]) for version in VERSIONS.values()))
SPECIAL = set.intersection(*(set(version["special"]) for version in VERSIONS.values()))
# NumPy keeps these names for its own classes; in CuPy they are functions or other classes.
SCALARS = bool | int | float | complex | np.generic
WITHOUT_LAUNCH = {"empty", "empty_like", "shape", "ndim", "result_type", "may_share_memory"}


class Counter:
    """What a GPU would have done: kernels launched, and times that the host waited for them."""

    def __init__(self) -> None:
        self.launched: list[str] = []
        self.waited: list[str] = []

    def wait(self, why: str) -> None:
        """The host waits; impossible while a stream captures."""
        tape.refuse(why)
        self.waited.append(why)

    def clear(self) -> None:
        """Count from 0."""
        self.launched.clear()
        self.waited.clear()


counter = Counter()


def unwrap(x: Any, call: str) -> Any:
    """The NumPy array inside; refuses an array of the host."""
    if isinstance(x, ndarray):
        return x._array
    if isinstance(x, np.ndarray):
        raise TypeError(f"cupy.{call}: unsupported type {type(x)}: it lies on the host")
    if isinstance(x, list | tuple):
        return type(x)(unwrap(item, call) for item in x)
    return x


def wrap(x: Any) -> Any:
    """A device array around NumPy's result, also where NumPy gives a scalar."""
    if isinstance(x, np.ndarray | np.generic):
        return ndarray(np.asarray(x))
    if isinstance(x, list | tuple):
        return type(x)(wrap(item) for item in x)
    return x


def poisoned(x: np.ndarray) -> np.ndarray:
    """Memory that nobody has written: NaN, or a number that nobody means."""
    x.fill(np.nan if x.dtype.kind in "fc" else 1 if x.dtype.kind == "b" else 113)
    return x


def compute(call: str, f: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """f on the arrays inside; a launch unless the result is a view."""
    inner = unwrap(list(args), call)
    options = {name: unwrap(value, call) for name, value in kwargs.items()}
    out = kwargs.get("out")
    with np.errstate(all="ignore"):
        if tape.work is not None and call not in WITHOUT_LAUNCH:
            if call in ("concatenate", "stack") and len(inner[0]) > 8:
                tape.refuse("a table of addresses is copied from the host")
            result = tape.add(call, f, inner, options)
            return out if out is not None else _wrapped(result, args)
        result = f(*inner, **options)
    arrays = [a for a in inner if isinstance(a, np.ndarray)]
    view = isinstance(result, np.ndarray) and any(np.may_share_memory(result, a) for a in arrays)
    if out is not None or not (view or call in WITHOUT_LAUNCH):
        # Up to eight arrays are joined one by one, more of them by one kernel.
        joined = len(inner[0]) if call in ("concatenate", "stack") else 1
        counter.launched += [call] * (joined if joined <= 8 else 1)
    return out if out is not None else _wrapped(result, args)


def _wrapped(result: Any, args: Any) -> Any:
    """The result as a device array, which knows whose memory it shares."""
    wrapped = wrap(result)
    if isinstance(wrapped, ndarray):
        for a in args:
            if isinstance(a, ndarray) and np.may_share_memory(wrapped._array, a._array):
                return as_view(wrapped, a)
    return wrapped


def as_view(view: Any, of: Any) -> Any:
    """The view, with a reference to the owner of its memory, as CuPy's views have it."""
    view.base = of if of.base is None else of.base
    return view


def check_arguments(call: str, allowed: set[str] | None, kwargs: dict[str, Any]) -> None:
    """Refuse a keyword that some supported CuPy does not take."""
    unknown = set(kwargs) - (allowed or set())
    if unknown and not (allowed or set()) & {"kwargs"}:
        raise TypeError(f"cupy.{call}: got an unexpected keyword argument {sorted(unknown)}")


def _method(name: str, allowed: set[str] | None) -> Any:
    def method(self: "ndarray", *args: Any, **kwargs: Any) -> Any:
        check_arguments(f"ndarray.{name}", allowed, kwargs)
        if name in ("clip",) and None in (*args, *kwargs.values()):
            raise TypeError("cupy.ndarray.clip: expected both bounds")
        if name in ("nonzero",):
            counter.wait(name)
        return compute(name, getattr(np.ndarray, name), (self, *args), kwargs)

    return method


class ndarray:
    """A device array: NumPy's arithmetic, CuPy's refusals."""

    __slots__ = ("__weakref__", "_array", "base")
    __hash__ = None  # type: ignore[assignment]
    __array_priority__ = 100

    def __init__(self, array: Any, dtype: Any = float, order: str = "C") -> None:
        if not isinstance(array, np.ndarray):
            array = poisoned(np.empty(array, dtype, order))
        self._array = array
        self.base: ndarray | None = None  # of a view: the array whose memory it shares

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("Implicit conversion to a NumPy array is not allowed: use .get()")

    def __array_ufunc__(self, ufunc: Any, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(f"numpy.{ufunc.__name__} on a device array: ask its module for it")

    def __array_function__(self, f: Any, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(f"numpy.{f.__name__} on a device array: ask its module for it")

    def _wait(self, why: str) -> np.ndarray:
        counter.wait(why)
        return self._array

    def get(self, stream: Any = None, order: str = "C", out: Any = None) -> np.ndarray:
        return self._wait("get").copy(order)

    def item(self) -> Any:
        return self._wait("item").item()

    def tolist(self) -> Any:
        return self._wait("tolist").tolist()

    def __bool__(self) -> bool:
        return bool(self._wait("bool"))

    def __int__(self) -> int:
        return int(self._wait("int"))

    def __float__(self) -> float:
        return float(self._wait("float"))

    def __repr__(self) -> str:
        return repr(self._wait("repr"))

    def __index__(self) -> int:
        raise TypeError("only integer scalar arrays of the host can be an index")

    def __len__(self) -> int:
        return len(self._array)

    def __iter__(self) -> Any:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: Any) -> "ndarray":
        items = index if isinstance(index, tuple) else (index,)
        if any(isinstance(i, ndarray) and i.dtype == bool for i in items):
            counter.wait("reading by a mask")
        return compute("getitem", operator.getitem, (self, index), {})

    def __setitem__(self, index: Any, value: Any) -> None:
        if isinstance(value, list | tuple):
            raise TypeError(f"cupy.ndarray.__setitem__: unsupported type {type(value)}")
        compute("setitem", operator.setitem, (self, index, value), {})

    def __dlpack__(self, **kwargs: Any) -> Any:
        return self._array.__dlpack__()

    def __dlpack_device__(self) -> tuple[int, int]:
        return (2, 0)  # kDLCUDA

    def __deepcopy__(self, memo: Any) -> "ndarray":
        return compute("copy", np.array, (self,), {})

    def view(self, dtype: Any = None) -> "ndarray":
        return as_view(ndarray(self._array if dtype is None else self._array.view(dtype)), self)

    def set(self, array: np.ndarray) -> None:
        tape.refuse("set")
        self._array[...] = array

    @property
    def data(self) -> Any:
        return SimpleNamespace(ptr=self._array.ctypes.data)

    @property
    def flags(self) -> Any:
        names = ("c_contiguous", "f_contiguous", "owndata")
        return SimpleNamespace(**{name: getattr(self._array.flags, name) for name in names})


def _operator(name: str) -> Any:
    reflected = not hasattr(operator, name)
    f = getattr(operator, name.replace("__r", "__", 1) if reflected else name)
    in_place = name.startswith("__i") and name != "__invert__"

    def method(self: ndarray, *others: Any) -> Any:
        if others and isinstance(others[0], np.ndarray | list | tuple):
            raise TypeError(f"cupy.ndarray.{name}: unsupported type {type(others[0])}")
        if others and not isinstance(
            others[0], ndarray | bool | int | float | complex | np.generic
        ):
            return NotImplemented
        result = compute(name, f, (*others, self) if reflected else (self, *others), {})
        if in_place:
            counter.launched.append(name)
            return self
        return result

    return method


def _part(array: ndarray, name: str) -> ndarray:
    return as_view(wrap(getattr(array._array, name)), array)


def _complete() -> None:
    for name in SPECIAL:
        plain = {name, name.replace("__r", "__", 1)}
        known = any(callable(vars(operator).get(each)) for each in plain)
        if known and name not in vars(ndarray):
            setattr(ndarray, name, _operator(name))
    for name, allowed in ARRAY.items():
        if name in vars(ndarray):
            continue
        if allowed is not None:
            setattr(ndarray, name, _method(name, allowed))
        elif name in ("T", "real", "imag"):
            setattr(ndarray, name, property(functools.partial(_part, name=name)))
        elif name in ("shape", "dtype", "size", "strides", "ndim", "nbytes", "itemsize"):
            setattr(ndarray, name, property(lambda self, n=name: getattr(self._array, n)))


_complete()
