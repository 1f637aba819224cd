"""Derivatives of functions: grad, vjp, jvp, hvp, jacobian, to any order and nested at will."""

from collections.abc import Callable
from typing import Any

import numpy as np

from .backward import sweep
from .errors import GradientError, ShapeError
from .modes import enable_grad, is_recording
from .ops import reshape, stack
from .tensor import Tensor, as_tensor, cotangent_of, record


def _mapped(f: Callable[[Any], Any], x: Any) -> Any:
    """f of x, or of each value where x is a dict."""
    return {key: _mapped(f, item) for key, item in x.items()} if isinstance(x, dict) else f(x)


def _inner(args: tuple[Any, ...], argnums: tuple[int, ...]) -> tuple[list[Any], list[Tensor]]:
    """The arguments with tensors of our own at argnums, still tied to the caller's graph."""
    arguments, targets = list(args), list[Tensor]()
    for i in argnums:
        if not -len(args) <= i < len(args):
            raise ShapeError(
                f"grad: argnums {argnums} asks for more than the {len(args)} arguments"
            )

        def own(value: Any, i: int = i) -> Tensor:
            x = as_tensor(value)
            if x.dtype.kind != "f":
                raise GradientError(
                    f"grad: argument {i} has dtype {x.dtype}; only floating-point tensors carry a "
                    "gradient: pass dtype='float32' or 'float64'"
                )
            t = record(x.data, (x, lambda g, y: g), name="argument")
            t.requires_grad = True
            targets.append(t)
            return t

        arguments[i] = _mapped(own, args[i])
    return arguments, targets


def _wanted_outside(y: Tensor, targets: list[Tensor]) -> bool:
    """Whether y depends on anything but the targets that somebody else may differentiate by."""
    seen = {id(t) for t in targets}
    if any(t.node is not None for t in targets):
        return True
    stack = [y]
    while stack:
        t = stack.pop()
        if id(t) not in seen:
            seen.add(id(t))
            if t.node is None and t.requires_grad:
                return True
            stack.extend(x for x, _ in (t.node and t.node.inputs) or ())
    return False


def vjp(f: Callable[..., Any], *args: Any) -> tuple[Tensor, Callable[..., Any]]:
    """f(*args), and the function that carries a cotangent u back: u ↦ uᵀ·J, one per argument.

    The pullback gives a tensor for one argument and a tuple for several.
    """
    y, pull = _vjp(f, args, tuple(range(len(args))))

    def pullback(u: Any) -> Any:
        grads = pull(u)
        return grads[0] if len(args) == 1 else tuple(grads)

    return y, pullback


def _vjp(
    f: Callable[..., Any], args: tuple[Any, ...], argnums: tuple[int, ...], options: Any = ()
) -> tuple[Tensor, Callable[[Any], list[Any]]]:
    """f(*args, **options), and uᵀ·J for the arguments at argnums; of a dict, a dict of them."""
    outside = is_recording()
    with enable_grad():
        arguments, targets = _inner(args, argnums)
        y = f(*arguments, **dict(options))
        if not isinstance(y, Tensor):
            raise GradientError(f"grad: expected the function to return a Tensor, got {type(y)}")
    keep = outside and _wanted_outside(y, targets)

    def pull(u: Any) -> list[Any]:
        g = cotangent_of("grad", y, u)
        tracked = keep or (is_recording() and g.requires_grad)
        pairs = sweep([(y, g)], targets, retain_graph=True, create_graph=tracked)
        found = {id(t): g for t, g in pairs}

        def gradient(t: Tensor) -> Tensor:
            g = found.get(id(t))  # times 1: an array that no other gradient shares
            return Tensor(t._module.zeros_like(t.data)) if g is None else g * 1

        return [_mapped(gradient, arguments[i]) for i in argnums]

    return (y if keep else y.detach()), pull


def value_and_grad(
    f: Callable[..., Any], argnums: int | tuple[int, ...] = 0
) -> Callable[..., tuple[Tensor, Any]]:
    """The function x ↦ (f(x), ∂f/∂x) of a scalar-valued f; a tuple for several argnums.

    The gradient of a dict of tensors is a dict. Keyword arguments are handed on to f.
    """
    one = isinstance(argnums, int | np.integer)
    numbers = (int(argnums),) if isinstance(argnums, int | np.integer) else tuple(argnums)

    def wrapped(*args: Any, **options: Any) -> tuple[Tensor, Any]:
        y, pull = _vjp(f, args, numbers, options)
        grads = pull(None)
        return y, (grads[0] if one else tuple(grads))

    return wrapped


def grad(f: Callable[..., Any], argnums: int | tuple[int, ...] = 0) -> Callable[..., Any]:
    """The function x ↦ ∂f/∂x of a scalar-valued f. `grad(grad(f))` is the second derivative."""
    both = value_and_grad(f, argnums)
    return lambda *args, **options: both(*args, **options)[1]


def jvp(f: Callable[..., Any], primals: Any, tangents: Any) -> tuple[Tensor, Tensor]:
    """f(x) and J·v, the change of f along v; x and v are one tensor or tuples of them.

    The pullback u ↦ uᵀJ is linear in u, so its own pullback at any u is v ↦ J·v.
    """
    xs = primals if isinstance(primals, tuple) else (primals,)
    vs = tangents if isinstance(tangents, tuple) else (tangents,)
    y, pull = _vjp(f, xs, tuple(range(len(xs))))

    def along(u: Tensor) -> Tensor:
        terms = [(g * v).sum() for g, v in zip(pull(u), vs, strict=True)]
        return sum(terms[1:], terms[0])

    expected, found = [np.shape(x) for x in xs], [np.shape(v) for v in vs]
    if expected != found:
        raise ShapeError(f"jvp: expected tangents of shapes {expected}, got {found}")
    slope = grad(along)(y.detach())
    wanted = y.requires_grad or any(getattr(v, "requires_grad", False) for v in vs)
    return y, (slope if wanted else slope.detach())


def hvp(f: Callable[..., Any], x: Any, v: Any) -> Tensor:
    """H·v, the Hessian of a scalar-valued f at x times v, without forming H."""
    if np.shape(x) != np.shape(v):
        raise ShapeError(f"hvp: expected v of shape {np.shape(x)}, got {np.shape(v)}")
    return grad(lambda z: (grad(f)(z) * v).sum())(x)


def jacobian(f: Callable[..., Any], *args: Any, argnums: int = 0) -> Any:
    """∂f/∂x at the arguments, of shape f's output + x's; without arguments, a function of them."""
    if not args:
        return lambda *later: jacobian(f, *later, argnums=argnums)
    y, pull = _vjp(f, args, (argnums,))
    shape = y.shape + np.shape(args[argnums])
    xp, rows = y._module, []
    for i in range(y.size):
        u = xp.zeros(y.size, dtype=y.dtype)
        u[i] = 1
        rows.append(pull(u.reshape(y.shape))[0])
    if not rows:
        return Tensor(xp.zeros(shape, dtype=y.dtype))
    return reshape(stack(rows), shape)
