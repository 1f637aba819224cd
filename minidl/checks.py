"""The checks of arguments that many rooms share: numbers, tensors, axes, parameters, state.

An error names the call, what was expected, what came, and what to do.
"""

import math
import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from .arrays import is_masked
from .device import FLOAT, Array, is_host, read, to_device
from .errors import (
    CheckpointError,
    ConfigError,
    DataError,
    DeviceError,
    DTypeError,
    GradientError,
    ShapeError,
)
from .tensor import ArrayLike, Tensor, as_tensor, tensor

_TESTS: dict[str, Callable[[Any], Any]] = {
    "an int": lambda x: isinstance(x, int | np.integer),
    "an int >= 0": lambda x: isinstance(x, int | np.integer) and x >= 0,
    "an int >= 1": lambda x: isinstance(x, int | np.integer) and x >= 1,
    "in [0, 1)": lambda x: 0 <= x < 1,
    "in [0, 1]": lambda x: 0 <= x <= 1,
    ">= 0": lambda x: 0 <= x < float("inf"),
    "> 0": lambda x: x > 0,
}


def check(call: str, expected: str, **options: Any) -> None:
    """Raise ConfigError unless each option passes the test named `expected`, a key of _TESTS."""
    for name, x in options.items():
        number = isinstance(x, int | float | np.number) and not isinstance(x, bool)
        if not (number and _TESTS[expected](x)):
            raise ConfigError(f"{call}: expected {name} {expected}, got {x!r}")


def check_function(call: str, **functions: Any) -> None:
    """Raise ConfigError unless each option is a function."""
    for name, f in functions.items():
        if not callable(f):
            raise ConfigError(f"{call}: expected {name} as a function, got {f!r}")


def same_shapes(call: str, shapes: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Raise CheckpointError naming all in `state` that is missing, unknown or of another shape."""
    found = {n: tuple(v.shape if hasattr(v, "shape") else np.shape(v)) for n, v in state.items()}
    differ = [
        f"{name}: expected {shapes.get(name, 'nothing')}, found {found.get(name, 'nothing')}"
        for name in {**shapes, **found}
        if shapes.get(name) != found.get(name)
    ]
    if differ:
        hint = f"{call}: this was saved with other options than these:"
        raise CheckpointError("\n  ".join([hint, *differ]))


def unmasked(x: ArrayLike, axis: Any) -> ArrayLike:
    """x; but a masked array that is reduced along all axes loses its masked values, as in NumPy."""
    return x.compressed() if axis is None and is_masked(x) else x


def floating(x: ArrayLike) -> tuple[Tensor, Any]:
    """x as a floating-point tensor (integers become float32), and its array module."""
    x = as_tensor(x)
    if x.dtype.kind not in "fc":
        x = Tensor(x.data.astype(FLOAT))
    return x, x._module


def operands(
    call: str, a: ArrayLike, b: ArrayLike, broadcast: bool = True
) -> tuple[Tensor, Tensor, Any]:
    """(a, b, their array module), as two tensors on one device; a number takes the other's dtype.

    broadcast: whether to check that the shapes broadcast.
    Raises: DeviceError for two devices, ShapeError for shapes that do not broadcast.
    """
    if not isinstance(a, Tensor) and isinstance(b, Tensor):
        b, a = as_tensor(b), as_tensor(a, like=b)
    else:
        a = as_tensor(a)
        b = as_tensor(b, like=a)
    same_device(call, a, b)
    a, b = integers_follow(a, b), integers_follow(b, a)
    if broadcast and a.shape != b.shape:
        try:
            np.broadcast_shapes(a.shape, b.shape)
        except ValueError:
            raise ShapeError(
                f"{call}: expected shapes that broadcast (equal or 1, aligned from the right), "
                f"got {a.shape} and {b.shape}"
            ) from None
    return a, b, a._module


def axis_of(call: str, x: Tensor, axis: Any) -> int:
    """One axis as a non-negative int."""
    axes = axes_of(call, x, axis)
    if axis is None or len(axes) != 1:
        raise ShapeError(f"{call}: expected one axis as an int, got {axis!r}")
    return axes[0]


def chosen(
    call: str, condition: ArrayLike, a: ArrayLike, b: ArrayLike
) -> tuple[Array, Tensor, Tensor, Any]:
    """The condition as an array of bools that broadcasts with a and b, and `operands` of these."""
    holds: Array = as_tensor(condition).data.astype(bool)
    a, b, xp = operands(call, a, b)
    try:
        np.broadcast_shapes(holds.shape, a.shape, b.shape)
    except ValueError:
        raise ShapeError(
            f"{call}: expected shapes that broadcast, got {holds.shape}, {a.shape} and {b.shape}"
        ) from None
    return holds, a, b, xp


def integers_follow(x: Tensor, other: Tensor) -> Tensor:
    """x in other's dtype if x holds integers and other does not, so that other keeps its dtype."""
    mixed = x.data.dtype.kind in "iub" and other.data.dtype.kind in "fc"
    return Tensor(x.data.astype(other.dtype)) if mixed else x


def all_follow(*tensors: Tensor) -> list[Tensor]:
    """The tensors, those of integers in the dtype of the others, if not all hold integers."""
    dtypes = [t._data.dtype for t in tensors]
    if not dtypes or dtypes.count(dtypes[0]) == len(dtypes):
        return list(tensors)
    others = [dtype for dtype in dtypes if dtype.kind not in "iub"]
    like = Tensor(np.empty((), np.result_type(*others))) if others else None
    return list(tensors) if like is None else [integers_follow(t, like) for t in tensors]


def same_device(call: str, *tensors: Tensor) -> None:
    """Raise DeviceError unless all tensors lie on one device."""
    devices = [t.device for t in tensors]
    if len(set(devices)) > 1:
        raise DeviceError(
            f"{call}: expected tensors on one device, got {' and '.join(devices)}; "
            "move them with .to(device)"
        )


def same_shape(call: str, a: ArrayLike, b: ArrayLike) -> tuple[Tensor, Tensor]:
    """Two floating-point tensors of equal shapes: a loss broadcasts nothing."""
    a, b, _ = operands(call, a, b)
    if a.shape != b.shape:
        raise ShapeError(f"{call}: expected equal shapes, got {a.shape} and {b.shape}")
    return floating(a)[0], floating(b)[0]


def axes_of(call: str, x: Tensor, axis: Any) -> tuple[int, ...]:
    """axis (None for all, an int, or a tuple) as distinct non-negative ints, in the order given."""
    ndim = x.data.ndim
    if axis is None:
        return tuple(range(ndim))
    axes = []
    for i in axis if isinstance(axis, tuple | list) else (axis,):
        if type(i) is not int and not isinstance(i, np.integer):  # a bool is an int too
            raise DTypeError(f"{call}: expected an axis that is an int, got {i!r}")
        if not -ndim <= i < ndim:
            raise ShapeError(f"{call}: axis {i} is outside the {ndim} axes of shape {x.shape}")
        axes.append(int(i) % ndim)
    if len(set(axes)) != len(axes):
        raise ShapeError(f"{call}: an axis is named twice in {axis}")
    return tuple(axes)


def ints(args: tuple[Any, ...]) -> tuple[int, ...]:
    """A shape or axes given as one tuple or as separate ints."""
    return tuple(args[0]) if len(args) == 1 and isinstance(args[0], tuple | list) else args


def borders(call: str, x: Tensor, widths: Any) -> list[tuple[int, ...]]:
    """The widths of a border: (before, after) for each axis.

    widths: an int for all sides, or one int or (before, after) pair per axis.
    Raises: ShapeError for others.
    """
    try:
        each = [widths] * x.ndim if isinstance(widths, int | np.integer) else widths
        pairs = [tuple(map(operator.index, np.broadcast_to(w, 2))) for w in each]
    except (TypeError, ValueError):
        pairs = []
    if len(pairs) != x.ndim or any(min(pair) < 0 for pair in pairs):
        raise ShapeError(
            f"{call}: expected {x.ndim} widths >= 0 for shape {x.shape}, whole numbers or pairs of "
            f"them, got {widths}"
        )
    return pairs


def tensors_of(call: str, params: Any) -> list[Tensor]:
    """The tensors in a model, a tensor, or an iterable of tensors or of (name, tensor) pairs.

    Raises: ConfigError for anything else.
    """
    if isinstance(params, Tensor):
        return [params]
    holder = type(params).__name__
    if callable(getattr(params, "parameters", None)):
        params = params.parameters()
    many = isinstance(params, Iterable) and not isinstance(params, str)
    items = list(params) if many else [params]
    found = [item[1] if isinstance(item, tuple) and len(item) == 2 else item for item in items]
    wrong = sorted({type(item).__name__ for item in found if not isinstance(item, Tensor)})
    if wrong:
        raise ConfigError(
            f"{call}: expected params to be a model, a tensor, or a list of tensors such as "
            f"model.parameters() or model.named_parameters(); got {holder} with {', '.join(wrong)}"
        )
    return found


def gradient_of(call: str, i: int, p: Tensor) -> Tensor:
    """The gradient of p, the parameter number i, of p's shape and on p's device.

    An array that was assigned to `.grad` becomes a tensor there.
    Raises: GradientError for another shape or device, or for numbers that are not real.
    """
    if not isinstance(p.grad, Tensor):
        p.grad = as_tensor(p.grad)
    g, theta = p.grad.data, p.data
    if g.shape != theta.shape or is_host(g) != is_host(theta) or g.dtype.kind not in "fiu":
        raise GradientError(
            f"{call}: expected a real gradient {p.shape} on {p.device} for parameter {i}, got "
            f"{g.shape} of {g.dtype} on {p.grad.device}"
        )
    return p.grad


def check_writable(call: str, what: str, i: int, array: Array) -> None:
    """Raise GradientError for memory that must not be written: a file's, or a bytes object's."""
    if is_host(array) and not array.flags.writeable:
        raise GradientError(
            f"{call}: expected {what} {i} of shape {array.shape} in memory that can be written, "
            "got read-only memory; nothing was changed; assign a copy: np.array(...)"
        )


def images(call: str, x: ArrayLike) -> Tensor:
    """Floating-point images (N, C, H, W)."""
    x, _ = floating(x)
    if x.ndim != 4:
        raise ShapeError(
            f"{call}: expected images x of shape (N, C, H, W), got {x.shape}; "
            "add the missing axes with reshape"
        )
    return x


def convolution(
    call: str, x: ArrayLike, w: ArrayLike, b: Any, groups: int, transposed: bool
) -> Any:
    """x, w, b of a convolution as checked tensors.

    transposed: True for a transposed convolution, whose w is (in, out/groups, kh, kw). Otherwise w
    is (out, in/groups, kh, kw).
    """
    x, (w, _) = images(call, x), floating(w)
    b = None if b is None else floating(b)[0]
    same_device(call, x, w, *(() if b is None else (b,)))
    if w.ndim != 4:
        kind = "(in, out/groups, kh, kw)" if transposed else "(out, in/groups, kh, kw)"
        raise ShapeError(f"{call}: expected w of shape {kind}, got {w.shape}")
    if isinstance(groups, bool) or not isinstance(groups, int | np.integer) or groups < 1:
        raise ShapeError(f"{call}: expected groups to be an int >= 1, got {groups!r}")
    channels = w.shape[0] if transposed else w.shape[1] * groups
    if w.shape[0] % groups:
        raise ShapeError(f"{call}: groups={groups} does not divide the {w.shape[0]} of w {w.shape}")
    if x.shape[1] != channels:
        turned = "; images as N, H, W, C have to be turned: x.transpose(0, 3, 1, 2)"
        last = turned if x.shape[3] == channels else ""
        raise ShapeError(
            f"{call}: expected x with {channels} channel{'s' * (channels != 1)} (w is {w.shape}, "
            f"groups={groups}), got x of shape {x.shape}{last}"
        )
    outputs = w.shape[1] * groups if transposed else w.shape[0]
    if b is not None and b.shape != (outputs,):
        raise ShapeError(f"{call}: expected b of shape ({outputs},), got {b.shape}")
    return x, w, b


def subscripts_of(
    call: str, subscripts: str, shapes: list[tuple[int, ...]]
) -> tuple[list[str], str, dict[str, int]]:
    """For an einsum: each operand's letters, the output's letters, and each letter's length.

    "..." stands for the axes that have no letter. Here they get letters of their own, aligned from
    the right, and broadcast.
    Raises: ShapeError where the subscripts do not describe the shapes.
    """
    if not isinstance(subscripts, str) or not shapes:
        raise ShapeError(f"{call}: expected subscripts such as 'ij,jk->ik' and operands for them")
    terms, arrow, out = subscripts.replace(" ", "").partition("->")
    names = terms.split(",")
    rests = [len(s) - len(n.replace("...", "")) for n, s in zip(names, shapes, strict=False)]
    free = [c for c in "ZYXWVUTSRQPONMLKJIHGFEDCBA" if c not in subscripts]
    more = "".join(free[: max([0, *(r for n, r in zip(names, rests, strict=False) if "..." in n)])])
    if not arrow:
        letters = "".join(names).replace("...", "")
        out = "..." * ("..." in terms) + "".join(
            sorted(c for c in set(letters) if letters.count(c) == 1)
        )
    names = [
        n.replace("...", more[len(more) - r :] if r > 0 else "")
        for n, r in zip(names, [*rests, *[0] * len(names)], strict=False)
    ]
    forgotten = more and "..." not in out
    out, letters = out.replace("...", more), "".join(names)
    pairs = list(zip(names, shapes, strict=False))
    if (
        len(names) != len(shapes)
        or forgotten
        or any(len(n) != len(shape) for n, shape in pairs)
        or len(set(out)) != len(out)
        or not set(out) <= set(letters)
        or not all(c.isalpha() for c in letters)
    ):
        raise ShapeError(
            f"{call}: {subscripts!r} does not describe {shapes}: expected one letter per axis (or "
            '"..." for several), and an output of letters from the inputs, none twice'
        )
    sizes: dict[str, int] = {}
    for name, shape in pairs:
        for letter, n in zip(name, shape, strict=True):
            known = sizes.setdefault(letter, n)
            if known == 1 and letter in more:
                sizes[letter] = n
            elif n != known and not (n == 1 and letter in more):
                raise ShapeError(
                    f"{call}: {subscripts!r}: axis '{letter}' has lengths {known} and {n}"
                )
    return names, out, sizes


def paired_subscripts(call: str, a: Tensor, b: Tensor, axes: Any) -> str:
    """The einsum of tensordot: paired axes share a letter. axes: a number, or two lists of axes."""
    if isinstance(axes, int | np.integer):
        axes = (tuple(range(a.ndim - axes, a.ndim)), tuple(range(axes)))
    left, right = axes_of(call, a, axes[0]), axes_of(call, b, axes[1])
    if len(left) != len(right):
        raise ShapeError(f"{call}: expected as many axes of a as of b, got {left} and {right}")
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    first = list(letters[: a.ndim])
    second = list(letters[a.ndim : a.ndim + b.ndim])
    for i, j in zip(left, right, strict=True):
        second[j] = first[i]
    free = [c for i, c in enumerate(first) if i not in left]
    free += [c for j, c in enumerate(second) if j not in right]
    return f"{''.join(first)},{''.join(second)}->{''.join(free)}"


def class_labels(call: str, labels: ArrayLike, logits: Tensor) -> Tensor:
    """Labels (N,) for logits (N, K), checked to lie in 0..K-1 on the CPU.

    On a GPU they are not checked, because the host would have to wait for the GPU.
    """
    targets = as_tensor(labels)
    if logits.ndim != 2 or targets.shape != logits.shape[:1] or logits.size == 0:
        raise ShapeError(
            f"{call}: expected logits (N, K) and labels (N,) with N, K >= 1, got "
            f"{logits.shape} and {targets.shape}"
        )
    if targets.dtype.kind not in "iu":
        raise DTypeError(f"{call}: expected integer labels, got dtype {targets.dtype}")
    same_device(call, logits, targets)
    classes = logits.shape[1]
    if is_host(targets.data) and not 0 <= targets.data.min() <= targets.data.max() < classes:
        at = int(np.flatnonzero((targets.data < 0) | (targets.data >= classes))[0])
        raise DataError(
            f"{call}: expected labels in 0..{classes - 1} (logits {logits.shape}), got "
            f"{targets.data[at]} at position {at}; give the model one output per class"
        )
    return targets


def param_groups(call: str, params: Any, options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """An optimizer's params as groups: each a dictionary of its tensors and all its options.

    Raises: ConfigError for unknown options, and unless the tensors are leaves, each named once.
    """
    groups: list[dict[str, Any]] = [{"params": params}]
    if isinstance(params, list) and params and all(isinstance(g, dict) for g in params):
        groups = params
    for group in groups:
        unknown = sorted(set(group) - {"params", "initial_lr", *options})
        if unknown or "params" not in group:
            raise ConfigError(
                f"{call}: expected each group to have 'params' and options out of "
                f"{sorted(options)}, got {unknown or sorted(group)}"
            )
    groups = [{**options, **g, "params": tensors_of(call, g["params"])} for g in groups]
    found = [p for group in groups for p in group["params"]]
    leaves = sum(p.is_leaf for p in found)
    if not found or leaves < len(found) or len(set(found)) < len(found):
        raise ConfigError(
            f"{call}: expected params to be leaves (tensors that no operation made), at least "
            f"one and none twice, such as model.parameters(); got {len(found)} tensors, "
            f"{leaves} leaves, {len(set(found))} different ones"
        )
    return groups


_RANGES = {"lr": ">= 0", "weight_decay": ">= 0", "eps": "> 0"}
_RANGES |= {"momentum": "in [0, 1)", "alpha": "in [0, 1)", "betas": "in [0, 1)"}


def optimizer_options(call: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """An optimizer's options as Python numbers: a number of NumPy would promote float32 arrays.

    Raises: ConfigError for an option outside its range.
    """
    found: dict[str, Any] = {}
    for name, value in options.items():
        if name == "betas":
            if not isinstance(value, tuple | list) or len(value) != 2:
                raise ConfigError(f"{call}: expected betas to be two numbers, got {value!r}")
            for beta in value:
                check(call, _RANGES[name], betas=beta)
            found[name] = tuple(map(float, value))
        elif name in _RANGES:
            check(call, _RANGES[name], **{name: value})
            found[name] = float(value)
        elif isinstance(value, bool | np.bool_):
            found[name] = bool(value)
        else:
            raise ConfigError(f"{call}: expected {name} to be True or False, got {value!r}")
    return found


def new_values(call: str, held: Tensor, value: ArrayLike) -> Array:
    """The array of `value`, in the dtype and on the device of `held`, which is to take it over.

    Raises: ConfigError for a value that needs a gradient, because it would not be trained;
    ShapeError for a value of another shape.
    """
    if isinstance(value, Tensor) and value.requires_grad:
        raise ConfigError(
            f"{call}: expected an nn.Parameter, or values without a gradient, got a tensor "
            "with requires_grad=True, which would be neither trained nor saved; write "
            "nn.Parameter(values), or compute it in forward()"
        )
    given = as_tensor(value).numpy()
    whole = given.dtype.kind != "f" or (np.isfinite(given) & (given == np.floor(given))).all()
    if held.dtype.kind in "iub" and not whole:
        raise DTypeError(
            f"{call}: expected values that {held.dtype} can hold, the type that it has, got "
            f"{value!r}; make it a tensor of floats from the start"
        )
    new = tensor(value, dtype=held.dtype, device=held.device)
    if new.shape != held.shape:
        raise ShapeError(
            f"{call}: expected values of shape {held.shape}, got {new.shape}; assign "
            "nn.Parameter(values) for another shape"
        )
    return new.data


Found = dict[int, tuple[Tensor, Tensor]]  # each parameter and its gradient, by number


def gradients_of(call: str, params: Any) -> Found:
    """The parameters that have a gradient: {number: (parameter, its gradient)}."""
    found: Found = {}
    for i, p in enumerate(dict.fromkeys(tensors_of(call, params))):
        g = p.grad if p.grad is None else gradient_of(call, i, p)
        if g is not None and g.dtype.kind != "f":  # clipping leaves fractions in the same array
            p.grad = g = Tensor(g.data.astype(p.dtype))
        if g is not None and g.size:
            check_writable(call, "the gradient of parameter", i, g.data)
            found[i] = p, g
    return found


def check_finite(call: str, found: Found, measured: list[float]) -> None:
    """Raise GradientError unless all of `measured` is finite; it names the gradients to blame."""
    if all(map(math.isfinite, measured)):
        return
    finite = read([g._module.isfinite(g.data).all() for _, g in found.values()])
    bad = {i: p.shape for (i, (p, _)), good in zip(found.items(), finite, strict=True) if not good}
    got = f"NaN or Inf in (parameter: shape) {bad}" if bad else f"finite ones of measure {measured}"
    raise GradientError(
        f"{call}: expected finite gradients, got {got}; nothing was clipped; use a smaller "
        "learning rate or smaller initial weights"
    )


def bound(call: str, x: Tensor, limit: ArrayLike | None, default: float) -> float | Array:
    """A limit for x: a Python number, or an array that broadcasts to x, in x's dtype if floating.

    default: the limit where none is given; for integers, the least or largest of their dtype.
    """
    if limit is None and x.dtype.kind in "iu":
        return int(getattr(np.iinfo(x.dtype), "min" if default < 0 else "max"))
    if limit is None or isinstance(limit, int | float | np.generic):
        return default if limit is None else limit.item() if hasattr(limit, "item") else limit
    array = operands(call, x, limit)[1].data
    if np.broadcast_shapes(array.shape, x.shape) != x.shape:
        raise ShapeError(
            f"{call}: expected a bound that broadcasts to {x.shape}, got {array.shape}"
        )
    # Integers keep the bound's own type: 1.5 or infinity would become another number in theirs.
    return array if x.dtype.kind in "iub" else array.astype(x.dtype)


def constant(call: str, **named: Any) -> Any:
    """An option that is a number, as a number of Python.

    Raises: GradientError for a tensor that needs a gradient, which it would not get; ConfigError
    for what is no number.
    """
    ((name, value),) = named.items()
    if getattr(value, "requires_grad", False):
        raise GradientError(
            f"{call}: expected {name} as a number, got a tensor with requires_grad=True, which "
            f"would get no gradient; pass {name}.item(), or write the formula by md.ops"
        )
    number = value.item() if getattr(value, "size", 0) == 1 else value
    if not isinstance(number, int | float):
        raise ConfigError(f"{call}: expected {name} as a number, got {value!r}")
    return number


def held(call: str, dtype: np.dtype, **named: Any) -> Any:
    """`constant`, if the type can hold the number: integers hold no 0.5, and uint8 no -1."""
    ((name, value),) = named.items()
    number = constant(call, **named)
    whole = np.iinfo(dtype) if dtype.kind in "iu" else None
    low, high = (0, 1) if whole is None else (whole.min, whole.max)
    if dtype.kind in "iub" and not (low <= number <= high and number == int(number)):
        raise DTypeError(f"{call}: expected {name} as a number that {dtype} holds, got {value!r}")
    return number


def label_shares(
    call: str,
    labels: ArrayLike,
    logits: Tensor,
    weight: ArrayLike | None,
    smoothing: float,
    ignored: int | None,
) -> Array:
    """The target r (N, K) of a weighted cross-entropy L = -Σ r·ln softmax.

    r[n,k] = s[n,k]·weight[k] / Σₙ weight[label n], and 0 in rows whose label is `ignored`. The
    share s[n,k] is smoothing/K, and 1 - smoothing more where k is the label. The sum leaves the
    ignored labels out.
    Raises: ConfigError, ShapeError for options that do not fit; GradientError for a weight that
    needs a gradient; DataError where no label counts, or for a label outside 0..K-1.
    """
    check(call, "in [0, 1]", label_smoothing=smoothing)
    if ignored is not None:
        check(call, "an int", ignore_index=ignored)
    if getattr(weight, "requires_grad", False):
        raise GradientError(
            f"{call}: expected weight without a gradient, got a tensor with requires_grad=True, "
            "which would get none; pass weight.detach(), or write the loss in your own operations"
        )
    given, xp, classes = as_tensor(labels).data, logits._module, logits.shape[-1]
    counted = xp.ones(given.shape, bool) if ignored is None else given != ignored
    index = class_labels(call, Tensor(given * counted), logits).data
    # Sums over the batch: those of float16 would overflow, and their shares would vanish.
    wide = np.promote_types(logits.dtype, np.float32)
    w = xp.ones(classes) if weight is None else as_tensor(weight).data
    if w.shape != (classes,) or (is_host(w) and not ((w >= 0) & (w < np.inf)).all()):
        raise ShapeError(
            f"{call}: expected weight as {classes} finite numbers >= 0, got {weight!r}"
        )
    w = to_device(w.astype(float), logits.device)
    w = w / xp.maximum(w.max(), np.finfo(float).tiny)  # only their ratios count: no sum overflows
    r = xp.full(logits.shape, smoothing / classes)
    r[xp.arange(len(r)), index] += 1 - smoothing
    total = (w[index] * counted).sum()
    if is_host(total) and not total > 0:
        raise DataError(f"{call}: expected a label that counts; all weights of them are 0")
    return (r * w * counted[:, None] / total).astype(wide)
