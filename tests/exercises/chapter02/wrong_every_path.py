"""Expect: every path through the graph"""

import minidl as md
from minidl import Tensor


def derivative(y: Tensor, x: Tensor) -> float:
    def follow(t: Tensor, g: Tensor) -> float:
        if t is x:
            return g.item()
        if t.node is None:
            return 0.0
        return sum(follow(source, pullback(g, t)) for source, pullback in t.node.inputs)

    return follow(y, md.tensor(1.0, dtype="float64"))
