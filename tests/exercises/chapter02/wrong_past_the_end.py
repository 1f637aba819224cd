"""Expect: `t.node` is None"""

import minidl as md
from minidl import Tensor


def derivative(y: Tensor, x: Tensor) -> float:
    gradients = {id(y): md.tensor(1.0, dtype="float64")}
    waiting = [y]
    while waiting:
        t = waiting.pop(0)
        for source, pullback in t.node.inputs:
            gradients[id(source)] = pullback(gradients[id(t)], t)
            waiting.append(source)
    return gradients[id(x)].item()
