"""Write `derivative`, the sweep of chapter 2, for numbers."""

from collections.abc import Callable
from types import ModuleType

import minidl as md
from minidl import Tensor

from .answers import Wrong, array, compare, function


def check(answer: ModuleType) -> str:
    """Graphs on which each mistake gives another number; the count of pullbacks; a long graph."""
    derivative = function(answer, "derivative")
    for text, build, right, mistakes in GRAPHS:
        x = md.tensor(3.0, dtype="float64", requires_grad=True)
        y = build(x)
        calls = _count_calls(y)
        nodes = len(_made(y))
        got = array(f"For y = {text}, your derivative", _walk(derivative, y, x))
        if calls[0] > 4 * nodes:
            raise Wrong(
                f"For y = {text}, with {nodes} nodes, pullbacks were called {calls[0]} times. You "
                "follow every path through the graph; visit each node once, when its gradient is "
                "complete."
            )
        compare(f"For y = {text} at x = 3, dy/dx", got, right, mistakes)
    x = md.tensor(0.5, dtype="float64", requires_grad=True)
    y = x
    for _ in range(5000):
        y = y + x
    try:
        got = derivative(y, x)
    except RecursionError:
        raise Wrong(
            "A graph of 5,000 operations in a row ends in RecursionError: use a loop and a list of "
            "the tensors that wait, not a function that calls itself."
        ) from None
    compare("For 5,000 additions of x, dy/dx", got, 5001.0)
    return (
        f"{len(GRAPHS)} graphs, and one of 5,000 operations, agree with the derivatives on paper."
    )


def _walk(derivative: Callable, y: Tensor, x: Tensor) -> object:
    """The reader's result; Wrong where the walk is minidl's own, or goes on past a given tensor."""
    try:
        got = derivative(y, x)
    except AttributeError as error:
        if "'NoneType' object has no attribute" not in str(error):
            raise
        raise Wrong(
            "The walk goes on where there is no node: for a tensor that was given, as x was, "
            f"`t.node` is None, and nothing is behind it. ({error})"
        ) from None
    if x.grad is not None:
        raise Wrong(
            "`backward` has filled x.grad: your function calls minidl's own sweep. Walk the nodes "
            "yourself, with `t.node.inputs`."
        )
    return got


ADDED = "A value that is used more than once gets a gradient from each use: add them up."
ORDER = (
    "A node handed its gradient on before all parts of it had arrived: serve the waiting tensor "
    "with the highest `node.order` first."
)

LOWEST = (
    "The gradient did not come to x: begin at y, and serve the highest `node.order` first, not the "
    "lowest."
)
ALWAYS_ONE = "A pullback was given 1. It needs what arrived at its tensor: only y begins with 1."
AGAIN = (
    "A tensor handed its gradient on more than once: let it wait once, however many of its uses "
    "have sent it a gradient."
)


def _diamond(x: Tensor) -> Tensor:
    a = x * x
    return a + a * a


def _late(x: Tensor) -> Tensor:
    a = x * x
    b = a * 2
    return b * b + a


def _doubled(x: Tensor) -> Tensor:
    y = x
    for _ in range(12):
        y = y + y
    return y


# The graph in words and as a function, its derivative at 3, and the results of typical mistakes.
GRAPHS: list[tuple[str, Callable[[Tensor], Tensor], float, dict[str, float]]] = [
    ("2·x", lambda x: x * 2, 2.0, {}),
    (
        "(x·2)·5",
        lambda x: x * 2 * 5,
        10.0,
        {"Rates along a path multiply.": 7.0, LOWEST: 0.0, ALWAYS_ONE: 2.0},
    ),
    ("x·x", lambda x: x * x, 6.0, {ADDED: 3.0}),
    ("a + a·a with a = x·x", _diamond, 114.0, {ORDER: 6.0, ADDED: 27.0, AGAIN: 342.0}),
    ("b·b + a with a = x·x and b = 2·a", _late, 438.0, {ORDER: 6.0, ADDED: 108.0}),
    ("x doubled 12 times", _doubled, 4096.0, {ADDED: 1.0}),
]


def _made(y: Tensor) -> dict[int, Tensor]:
    """The tensors that operations made on the way to y."""
    found: dict[int, Tensor] = {}
    waiting = [y]
    while waiting:
        t = waiting.pop()
        if t.node is not None and id(t) not in found:
            found[id(t)] = t
            waiting += [x for x, _ in t.node.inputs or ()]
    return found


def _count_calls(y: Tensor) -> list[int]:
    """A counter of the calls of all pullbacks in y's graph."""
    calls = [0]

    def counted(pullback: Callable) -> Callable:
        def pull(g: Tensor, out: Tensor) -> Tensor:
            calls[0] += 1
            return pullback(g, out)

        return pull

    for t in _made(y).values():
        assert t.node is not None and t.node.inputs is not None
        t.node.inputs = tuple((x, counted(pullback)) for x, pullback in t.node.inputs)
    return calls
