"""Derivatives of functions: grad, vjp, jvp, hvp, jacobian, to any order and nested at will.

J is the Jacobian ∂f/∂x: a row for each element of f(x), a column for each element of x. Arguments
are tensors, arrays or numbers of a floating-point type; `grad`, `value_and_grad` and `vjp` take
dicts of them too. Every function here raises GradientError for an argument of another type, and
for an f that returns no Tensor.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from .backward import sweep
from .errors import GradientError, ShapeError
from .modes import enable_grad, is_recording
from .ops import reshape, stack
from .tensor import Tensor, as_tensor, cotangent_of, record


def _mapped(f: Callable[[Any], Any], x: Any) -> Any:
    """f(x); if x is a dict, the dict with f applied to each value."""
    return {key: _mapped(f, item) for key, item in x.items()} if isinstance(x, dict) else f(x)


def _inner(args: tuple[Any, ...], argnums: tuple[int, ...]) -> tuple[list[Any], list[Tensor]]:
    """The arguments with fresh tensors at argnums, and those tensors: the sweep's targets.

    A fresh tensor is recorded as a copy of the argument, so that a derivative of this derivative
    can pass through it to the caller's own graph.
    """
    arguments, targets = list(args), list[Tensor]()
    for i in argnums:
        if not -len(args) <= i < len(args):
            raise ShapeError(f"grad: argnums {argnums} asks for more than {len(args)} arguments")

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
    """Whether a caller may differentiate the result by a tensor other than the targets.

    True if a target was made from a tensor that needs a gradient, or if f uses such a leaf itself.
    """
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
    """The vector-Jacobian product: (f(*args), pullback), where pullback(u) is uᵀ·J.

    The pullback returns a tensor for one argument, and a tuple for several.
    Shapes: u as f(*args); uᵀ·J as the argument.
    Raises: ShapeError where u has another shape.
    """
    y, pull = _vjp(f, args, tuple(range(len(args))))

    def pullback(u: Any) -> Any:
        grads = pull(u)
        return grads[0] if len(args) == 1 else tuple(grads)

    return y, pullback


def _vjp(
    f: Callable[..., Any], args: tuple[Any, ...], argnums: tuple[int, ...], options: Any = ()
) -> tuple[Tensor, Callable[[Any], list[Any]]]:
    """f(*args, **options), and the function u ↦ [uᵀ·J for each argument at argnums].

    For an argument that is a dict, uᵀ·J is a dict too.
    """
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
    """The function x ↦ (f(x), ∂f/∂x) of a scalar-valued f.

    argnums: the position of the argument to differentiate by. A tuple of positions gives a tuple of
    gradients. The gradient by a dict of tensors is a dict. Keyword arguments are handed on to f.
    Shapes: f(x) a scalar; ∂f/∂x as x.
    Raises: GradientError where f(x) is no scalar; ShapeError where there is no such argument.
    """
    one = isinstance(argnums, int | np.integer)
    numbers = (int(argnums),) if isinstance(argnums, int | np.integer) else tuple(argnums)

    def wrapped(*args: Any, **options: Any) -> tuple[Tensor, Any]:
        y, pull = _vjp(f, args, numbers, options)
        grads = pull(None)
        return y, (grads[0] if one else tuple(grads))

    return wrapped


def grad(f: Callable[..., Any], argnums: int | tuple[int, ...] = 0) -> Callable[..., Any]:
    """The function x ↦ ∂f/∂x of a scalar-valued f. `grad(grad(f))` is the second derivative.

    Arguments, shapes and errors are those of `value_and_grad`.
    """
    both = value_and_grad(f, argnums)
    return lambda *args, **options: both(*args, **options)[1]


def jvp(f: Callable[..., Any], primals: Any, tangents: Any) -> tuple[Tensor, Tensor]:
    """The Jacobian-vector product: (f(x), J·v), where J·v is the derivative of f along v.

    primals, tangents: x and v, one tensor each, or tuples of as many as f has arguments.
    Formula: the pullback u ↦ uᵀ·J is linear in u, so its own pullback at any u is v ↦ J·v.
    Shapes: v as x; J·v as f(x).
    Raises: ShapeError where a tangent has another shape than its primal.
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
    """The Hessian-vector product H·v of a scalar-valued f at x, without forming H.

    Formula: H·v = ∂(∂f/∂x · v)/∂x, the gradient of a directional derivative.
    Shapes: v and H·v as x.
    Raises: ShapeError where v has another shape; GradientError where f(x) is no scalar.
    """
    if np.shape(x) != np.shape(v):
        raise ShapeError(f"hvp: expected v of shape {np.shape(x)}, got {np.shape(v)}")
    return grad(lambda z: (grad(f)(z) * v).sum())(x)


def jacobian(f: Callable[..., Any], *args: Any, argnums: int = 0) -> Any:
    """The Jacobian ∂f/∂x at the arguments; without arguments, the function of them that gives it.

    argnums: the position of x among the arguments.
    Shapes: the shape of f's output followed by the shape of x.
    Numerics: one backward pass for each element of the output.
    Raises: ShapeError where there is no such argument.
    """
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
