"""Expect: not a function that calls itself"""

import minidl as md
from minidl import Tensor


def derivative(y: Tensor, x: Tensor) -> float:
    order: list[Tensor] = []
    seen = set()

    def visit(t: Tensor) -> None:
        if id(t) not in seen:
            seen.add(id(t))
            for source, _ in t.node.inputs if t.node else ():
                visit(source)
            order.append(t)

    visit(y)
    gradients = {id(t): 0.0 for t in order} | {id(y): 1.0}
    for t in reversed(order):
        for source, pullback in t.node.inputs if t.node else ():
            gradients[id(source)] += pullback(
                md.tensor(gradients[id(t)], dtype="float64"), t
            ).item()
    return gradients[id(x)]
